"""How a mouth that was drawn agrees with its sound, as far as the two alone can tell."""

import numpy as np

from heygem import audio

REACH_S = 0.16  # a syllable takes 0.2 to 0.3 s: further off, the next one is met


def av_agreement(trajectory, heard):
    """How the drawn movement agrees with the sound.

    Parameters
    ----------
    trajectory : Trajectory
    heard : Heard

    Returns
    -------
    dict of str to float
        `av_corr` and `av_offset_ms`: height and place of the peak of the correlation
        between lip gap and loudness, within 160 ms (positive: the mouth is late; opening leads or
        follows loudness by up to 100 ms in real speech too). `silence_leakage`: movement of the gap
        where nobody speaks over that in speech. Measures without a meaning (no speech, no silence)
        are left out.
    """
    rate_hz, gap = trajectory.rate_hz, trajectory.aperture()
    hop = int(audio.RATE_HZ / rate_hz)
    blocks = heard.speech.samples[: len(heard.speech.samples) // hop * hop].reshape(-1, hop)
    loudness = np.log10((blocks**2).mean(1) + 1e-6)
    voice = audio.voice_at(heard.voice, trajectory.times_s)
    n = min(len(gap), len(loudness))
    gap, loudness, voice = gap[:n], loudness[:n], voice[:n]
    measures = {}
    speaking, quiet = voice > 0.5, voice < 0.1
    reach = int(REACH_S * rate_hz)
    if n > 8 * reach and gap.std() > 1e-6 and loudness.std() > 1e-6:
        middle = slice(reach, n - reach)
        r = [
            np.corrcoef(np.roll(gap, -k)[middle], loudness[middle])[0, 1]
            for k in range(-reach, reach + 1)
        ]
        best = int(np.nanargmax(r))
        measures["av_corr"] = round(float(r[best]), 3)
        measures["av_offset_ms"] = round((best - reach) * 1000 / rate_hz, 1)
    if speaking.sum() > rate_hz / 2 and quiet.sum() > rate_hz / 5:
        still = float(gap[quiet].std()) / max(float(gap[speaking].std()), 1e-6)
        measures["silence_leakage"] = round(still, 3)
    return measures
