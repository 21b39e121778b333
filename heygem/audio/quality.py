"""Problems of a recording, found before any work is done with it."""

import numpy as np

from heygem.audio.features import HOP, voiced_rms
from heygem.audio.speech import Speech
from heygem.audio.vad import IS_SPEECH, MIN_LEVEL_DB, MIN_SPEECH_SHARE, voice_activity
from heygem.core.findings import Finding
from heygem.core.types import FloatArray

MAX_CLIPPED_SHARE = 1e-4
MAX_NON_SPEECH_SHARE = 0.4  # of the audible frames
MIN_SPEECH_TO_BACKGROUND_DB = 15.0


def check(speech: Speech, voice: FloatArray | None = None) -> list[Finding]:
    """Warnings about level, clipping, background noise and missing speech.

    Music and noise are inferred, not recognised: from audible frames that Silero VAD does not take
    for speech, and from pauses that are nearly as loud as the words.

    Parameters
    ----------
    speech : Speech
    voice : float32, optional
        `voice_activity` of its samples, where the caller has it.
    """
    findings = [Finding("warning", "NO_END_MARK")] if speech.lacks_end_mark else []
    samples = speech.samples
    if speech.invalid_samples or not np.isfinite(samples).all():
        count = speech.invalid_samples or int((~np.isfinite(samples)).sum())
        findings.append(Finding("warning", "NOT_NUMBERS", {"count": count}))
        samples = np.nan_to_num(samples, posinf=0, neginf=0)
    rms = voiced_rms(samples)
    if rms == 0:
        return [*findings, Finding("warning", "SILENT")]
    level_db = 20 * np.log10(rms)
    if level_db < MIN_LEVEL_DB:
        findings.append(Finding("warning", "LOW_LEVEL", {"level_db": float(level_db)}))
    if speech.clipped_share > MAX_CLIPPED_SHARE:
        findings.append(Finding("warning", "CLIPPED", {"share": speech.clipped_share}))
    return findings + _check_speech_content(samples, rms, voice)


def _check_speech_content(
    samples: FloatArray, rms: float, voice: FloatArray | None
) -> list[Finding]:
    probability = voice_activity(samples) if voice is None else voice
    frames = len(samples) // HOP
    power = (samples[: frames * HOP].reshape(frames, HOP) ** 2).mean(1)
    speech, audible = probability[:frames] > IS_SPEECH, power > rms**2 / 100
    non_speech_share = float((audible & ~speech).sum() / max(1, audible.sum()))
    if not speech.any() or non_speech_share > 1 - MIN_SPEECH_SHARE:
        return [Finding("warning", "NO_SPEECH")]
    if non_speech_share > MAX_NON_SPEECH_SHARE:
        return [Finding("warning", "NOT_SPEECH", {"share": non_speech_share})]
    background = max(np.percentile(power, 5), 1e-12)
    under_db = 10 * np.log10(power[speech].mean() / background)
    if under_db < MIN_SPEECH_TO_BACKGROUND_DB:
        return [Finding("warning", "NOISY", {"under_db": float(under_db)})]
    return []
