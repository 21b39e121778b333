"""Can the words be read off the lips? A reader trained on real mouths judges the drawn ones.

Correlation of curves forgives a mouth that swings with the syllables and says nothing. A reader
that learnt this person's words from real mouths does not: it is shown the same held-out words once
on the real mouth and once on the drawn one, and the share it still recognises is what got through
(the "over 75 %" of the field is such a share).

Times of words come from `.align` files as of the GRID corpus (Cooke et al. 2006): lines of start,
end, word, in 1/25000 s, beside the clip or in a folder `align` beside it.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem.core.errors import InputError
from heygem.core.interpolation import interpolate_at_times

TICKS_PER_S = 25000  # of an .align file
NOT_WORDS = {"sil", "sp"}
FEWEST = 4  # real examples from which a word is known to the reader
POINTS = 10  # moments of a word that are looked at
MARGIN_S = 0.04  # before and after: lips move ahead of the sound
SHIFTS_S = (-0.04, -0.02, 0.0, 0.02, 0.04)  # the reader is not to learn this file's own timing
MOVEMENT = 0.95  # share of the movement that the reader looks at; the rest is noise of the mesh


@dataclass(frozen=True)
class Word:
    """`text`, spoken from `start_s` to `end_s` of the clip."""

    start_s: float
    end_s: float
    text: str

    def later(self, by_s):
        """The same word `by_s` later."""
        return replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)


def beside(clip):
    """Words of the `.align` file that belongs to a clip: tuple of Word, empty without one."""
    clip = Path(clip)
    for place in (clip.parent, clip.parent / "align"):
        if (place / f"{clip.stem}.align").is_file():
            return read(place / f"{clip.stem}.align")
    return ()


def read(path):
    """Words of an `.align` file, silences left out.

    Raises
    ------
    InputError
        A line is not start, end, word.
    """
    found = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            start, end, text = line.split()
            word = Word(int(start) / TICKS_PER_S, int(end) / TICKS_PER_S, text)
        except ValueError as error:
            raise InputError(
                f"line {number} of {Path(path).name} is no word with its times",
                seen=line.strip()[:60],
                remedy="write start, end (in 1/25000 s) and word, apart by spaces",
            ) from error
        if text not in NOT_WORDS:
            found.append(word)
    return tuple(found)


class Reader:
    """A reader of one person's lips.

    Linear discriminants on principal components of the lip points over a word: small enough for
    the few dozen sentences there are.

    Parameters
    ----------
    mouth : heygem.evaluation.motion_metrics.MouthCurves
        The real mouth; only words inside `learnt` are looked at.
    words : sequence of Word
    learnt : (float, float)
        Seconds of the clip that may be learnt from.
    """

    def __init__(self, mouth, words, learnt):
        from sklearn.decomposition import PCA
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline

        words = [w for w in words if learnt[0] <= w.start_s and w.end_s <= learnt[1]]
        often = Counter(w.text for w in words)
        words = [w for w in words if often[w.text] >= FEWEST]
        if len({w.text for w in words}) < 2:
            raise InputError(
                "too few words to learn reading lips from",
                seen=f"{len(words)} that come {FEWEST} times or more",
                remedy="give more clips with word times of this person",
            )
        inside = (mouth.times_s >= learnt[0]) & (mouth.times_s < learnt[1])
        shapes = _shapes(mouth, words, inside, SHIFTS_S)
        names = np.array([w.text for w in words] * len(SHIFTS_S))
        self._model = make_pipeline(
            PCA(MOVEMENT), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        ).fit(shapes, names)
        self.known = frozenset(names.tolist())

    def accuracy(self, mouth, words):
        """Share of the known words that are recognised on a mouth; NaN if none is there."""
        words = self.of(mouth, words)
        if not words:
            return float("nan")
        whole = np.ones(len(mouth), bool)
        guesses = self._model.predict(_shapes(mouth, words, whole, (0.0,)))
        return float((guesses == np.array([w.text for w in words])).mean())

    def of(self, mouth, words):
        """Known words that lie wholly inside a mouth's time."""
        first, last = mouth.times_s[0], mouth.times_s[-1]
        return [w for w in words if w.text in self.known and first <= w.start_s and w.end_s <= last]

    def chance(self, mouth, words):
        """Accuracy of always saying the most frequent of these words."""
        often = Counter(w.text for w in self.of(mouth, words))
        return max(often.values()) / sum(often.values()) if often else float("nan")


def _shapes(mouth, words, inside, shifts_s):
    """Lip points over each word, once for each shift: float [words * shifts, POINTS * 80].

    Relative to this mouth's own mean, in its own spread: how wide somebody opens is measured
    elsewhere, and no reader needs to know it.
    """
    points = mouth.lips.reshape(len(mouth), -1)
    points = points - points[inside].mean(0)
    points /= max(float(points[inside].std()), 1e-6)
    rows = []
    for shift_s in shifts_s:
        for w in words:
            at = np.linspace(w.start_s - MARGIN_S, w.end_s + MARGIN_S, POINTS) + shift_s
            rows.append(interpolate_at_times(points, mouth.times_s, at).T)
    return np.array(rows).reshape(len(rows), -1)
