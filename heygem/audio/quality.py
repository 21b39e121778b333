"""The voice: what the model hears, and what goes into the finished video.

The model hears 16 kHz mono; the video keeps the file's own rate and channels. Both come from one
pass over the file, streamed, so a long recording costs 64 kB a second and no more."""

import numpy as np

from heygem.audio.features import HOP, voiced_rms
from heygem.audio.speech import Speech
from heygem.audio.vad import voice_activity
from heygem.core.findings import Finding


def check(speech: Speech) -> list[Finding]:
    """What is bad about a recording before any work is done with it.

    Music and noise are guessed, not recognised: sound that Silero VAD does not take for speech
    is suspected, and so are pauses that are nearly as loud as the words.
    """
    found = []
    samples = speech.samples
    if speech.replaced or not np.isfinite(samples).all():
        count = speech.replaced or int((~np.isfinite(samples)).sum())
        found.append(Finding("warning", "NOT_NUMBERS", {"count": count}))
        samples = np.nan_to_num(samples, posinf=0, neginf=0)
    rms = voiced_rms(samples)
    if rms == 0:
        return [*found, Finding("warning", "SILENT")]
    level_db = 20 * np.log10(rms)
    if level_db < -45:
        found.append(Finding("warning", "LOW_LEVEL", {"level_db": float(level_db)}))
    if speech.clipped_share > 1e-4:
        found.append(Finding("warning", "CLIPPED", {"share": speech.clipped_share}))
    return found + _check_voice(samples, rms)


def _check_voice(samples, rms) -> list[Finding]:
    probability = voice_activity(samples)
    count = len(samples) // HOP
    power = (samples[: count * HOP].reshape(count, HOP) ** 2).mean(1)
    speech, sounding = probability[:count] > 0.5, power > rms**2 / 100
    if not speech.any():
        return [Finding("warning", "NO_SPEECH")]
    other = float((sounding & ~speech).sum() / max(1, sounding.sum()))
    if other > 0.4:
        return [Finding("warning", "NOT_SPEECH", {"share": other})]
    # The quietest twentieth of the recording is what lies under the words.
    under_db = 10 * np.log10(power[speech].mean() / max(np.percentile(power, 5), 1e-12))
    if under_db < 15:
        return [Finding("warning", "NOISY", {"under_db": float(under_db)})]
    return []
