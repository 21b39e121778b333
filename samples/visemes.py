"""Curves of lip aperture and mouth width from phones and their times.

The table gives lip aperture and mouth width of each phone, and its dominance: its weight against
its neighbours. Neighbouring phones are blended after Cohen and Massaro, "Modeling
coarticulation in synthetic visual speech" (1993), with Gaussians for their exponentials.
"""

import unicodedata

import numpy as np

RATE_HZ = 200  # of the curves before they are sampled at frames

# IPA letter: (aperture, width, dominance). Aperture is the gap of the inner lips in distances of
# the outer eye corners; width is a factor on the mouth's width at rest.
_HELD = {
    "a": (0.135, 1.00, 1.0), "ɑ": (0.135, 0.98, 1.0), "æ": (0.125, 1.05, 1.0),
    "ʌ": (0.105, 0.99, 0.8), "ɐ": (0.10, 0.99, 0.7), "ɔ": (0.110, 0.89, 1.0),
    "ɒ": (0.115, 0.90, 1.0), "o": (0.085, 0.86, 1.0), "ɛ": (0.100, 1.05, 1.0),
    "e": (0.085, 1.06, 1.0), "ə": (0.065, 0.99, 0.5), "ɚ": (0.060, 0.95, 0.6),
    "ɜ": (0.065, 0.94, 0.8), "ɪ": (0.062, 1.04, 0.7), "i": (0.052, 1.08, 1.0),
    "ᵻ": (0.055, 1.03, 0.5), "y": (0.040, 0.84, 1.1), "ʊ": (0.055, 0.89, 0.8),
    "u": (0.040, 0.82, 1.1), "ɨ": (0.045, 1.03, 0.7), "ɤ": (0.075, 1.00, 0.8),
    "m": (0.0, 0.99, 5.0), "b": (0.0, 0.99, 5.0), "p": (0.0, 0.99, 5.0),
    "f": (0.010, 1.00, 3.0), "v": (0.010, 1.00, 3.0), "w": (0.022, 0.80, 2.0),
    "ʃ": (0.035, 0.88, 1.5), "ʒ": (0.035, 0.88, 1.5), "ʂ": (0.035, 0.90, 1.3),
    "ʐ": (0.040, 0.90, 1.0), "ɹ": (0.045, 0.90, 0.8), "r": (0.045, 0.92, 0.8),
    "s": (0.028, 1.04, 1.6), "z": (0.028, 1.04, 1.6), "ɕ": (0.030, 1.03, 1.4),
    "θ": (0.040, 1.01, 1.2), "ð": (0.042, 1.01, 1.0), "t": (0.035, 1.02, 0.9),
    "d": (0.038, 1.02, 0.9), "n": (0.042, 1.01, 0.7), "l": (0.058, 1.01, 0.7),
    "ɾ": (0.045, 1.01, 0.5), "j": (0.045, 1.04, 0.7), "k": (0.055, 1.00, 0.4),
    "ɡ": (0.055, 1.00, 0.4), "g": (0.055, 1.00, 0.4), "ŋ": (0.055, 1.00, 0.4),
    "x": (0.060, 1.00, 0.3), "χ": (0.065, 1.00, 0.3), "h": (0.070, 1.00, 0.15),
    "ʔ": (0.050, 1.00, 0.1),
}  # fmt: skip
_REST = (0.0, 1.0, 1.2)
_STRESS = {"ˈ": 1.12, "ˌ": 1.0}
_SETTLE_S = 0.034  # sigma of the blending: lips take about a tenth of a second to move
_CLOSE_S = 0.14  # pauses longer than this close the mouth
_FLOOR = 0.006  # lips that come this near touch


def _parts(symbol):
    """(letter, loudness) of a phone's parts in order: a diphthong has two, `tɕh` has one."""
    gain = next((_STRESS[c] for c in symbol if c in _STRESS), 0.9)
    letters = [c for c in unicodedata.normalize("NFD", symbol) if c in _HELD]
    if len(letters) > 1 and letters[-1] == "h":  # aspiration keeps the stop's mouth
        letters = letters[:-1]
    if letters[:1] == ["t"] and len(letters) == 2 and letters[1] in "ʃɕsʂ":
        letters = letters[1:]  # an affricate looks like its fricative
    return [(c, gain) for c in letters]


def curves(phones, times_s):
    """Lip curves of an utterance.

    Parameters
    ----------
    phones : list of (start_s, end_s, symbol)
        As `heygem.audio.tts.Utterance.phones`.
    times_s : float [T]

    Returns
    -------
    (float [T], float [T], list of str [T])
        Aperture in distances of the outer eye corners, width as a factor, and the phone held.
    """
    times_s = np.asarray(times_s, float)
    length = int(np.ceil((max(times_s.max(initial=0), phones[-1][1]) + 1) * RATE_HZ))
    target = np.zeros((length, 2))
    weight = np.zeros(length)
    target[:] = _REST[:2]
    weight[:] = _REST[2]
    for start_s, end_s, symbol in phones:
        parts = _parts(symbol)
        if not parts and end_s - start_s < _CLOSE_S:
            # A short gap is a stop's closure or a tone's end, not a rest: lips stay under way.
            weight[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = 0.05
            continue
        edges = np.linspace(start_s, end_s, len(parts) + 1)
        for (letter, gain), a, b in zip(parts, edges, edges[1:], strict=False):
            held = slice(round(a * RATE_HZ), max(round(b * RATE_HZ), round(a * RATE_HZ) + 1))
            aperture, width, dominance = _HELD[letter]
            target[held] = aperture * (gain if letter in "aɑæʌɐɔɒoɛeəɜɪiuʊ" else 1), width
            weight[held] = dominance
    reach = np.arange(-4 * _SETTLE_S, 4 * _SETTLE_S + 1e-9, 1 / RATE_HZ)
    kernel = np.exp(-((reach / _SETTLE_S) ** 2) / 2)
    total = np.convolve(weight, kernel, "same")
    smooth = [np.convolve(weight * t, kernel, "same") / total for t in target.T]
    clock = np.arange(length) / RATE_HZ
    aperture, width = (np.interp(times_s, clock, s) for s in smooth)
    # Soft, so that closing lips do not stop dead.
    aperture = np.maximum(aperture - _FLOOR, 0) * (aperture / (aperture + _FLOOR + 1e-9))
    starts = np.array([p[0] for p in phones])
    index = np.clip(np.searchsorted(starts, times_s, side="right") - 1, 0, None)
    held = [phones[i][2] if t < phones[i][1] else "" for i, t in zip(index, times_s, strict=True)]
    return aperture, width, held
