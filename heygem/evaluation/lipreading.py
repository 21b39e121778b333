"""Word accuracy: a lip reader trained on the real mouth reads the rendered one.

A correlation of curves rewards a mouth that swings with the syllables and forms no word. The reader
has learned this person's words from the real mouth of the library part. It reads the same held-out
words once on the real mouth and once on the rendered one; the ratio of the two accuracies is the
fraction of the words that the rendering preserves.

Times of words come from `.align` files as of the GRID corpus (Cooke et al. 2006): lines of start,
end, word, in 1/25000 s, beside the clip or in a folder `align` beside it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem.core.errors import InputError
from heygem.core.interpolation import interpolate_at_times
from heygem.core.types import BoolArray, FloatArray, PathLike
from heygem.evaluation.motion_metrics import MouthCurves

TICKS_PER_S = 25000  # of an .align file
SILENCES = {"sil", "sp"}
MIN_EXAMPLES = 4  # real examples of a word, below which it is left out of the vocabulary
SAMPLES = 10  # moments of a word that are sampled
MARGIN_S = 0.04  # before and after a word: lips move ahead of the audio
SHIFTS_S = (-0.04, -0.02, 0.0, 0.02, 0.04)  # augmentation, so that the file's lag is not learned
EXPLAINED_VARIANCE = 0.95  # of the principal components; the rest is noise of the mesh


@dataclass(frozen=True)
class Word:
    """`text`, spoken from `start_s` to `end_s` of the clip."""

    start_s: float
    end_s: float
    text: str

    def shifted(self, by_s: float) -> "Word":
        """The same word `by_s` later."""
        return replace(self, start_s=self.start_s + by_s, end_s=self.end_s + by_s)


def words_beside(clip: PathLike) -> tuple[Word, ...]:
    """Words of the `.align` file that belongs to a clip; empty without one."""
    clip = Path(clip)
    for folder in (clip.parent, clip.parent / "align"):
        if (folder / f"{clip.stem}.align").is_file():
            return read_align(folder / f"{clip.stem}.align")
    return ()


def read_align(path: PathLike) -> tuple[Word, ...]:
    """Words of an `.align` file, silences left out.

    Raises
    ------
    InputError
        A line is not start, end, word.
    """
    words = []
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
                remedy="write start, end (in 1/25000 s) and word, separated by spaces",
            ) from error
        if text not in SILENCES:
            words.append(word)
    return tuple(words)


class LipReader:
    """A classifier of one person's words from the motion of the lips.

    Linear discriminants on principal components of the lip points over a word: small enough for
    the few dozen sentences there are.

    Parameters
    ----------
    mouth : heygem.evaluation.motion_metrics.MouthCurves
        The real mouth.
    words : sequence of Word
    library_s : (float, float)
        Seconds of the clip to train on; words outside are not used.

    Attributes
    ----------
    vocabulary : frozenset of str

    Raises
    ------
    InputError
        Fewer than two words occur often enough.
    """

    def __init__(
        self, mouth: MouthCurves, words: Sequence[Word], library_s: tuple[float, float]
    ) -> None:
        from sklearn.decomposition import PCA
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.pipeline import make_pipeline

        words = [w for w in words if library_s[0] <= w.start_s and w.end_s <= library_s[1]]
        counts = Counter(w.text for w in words)
        words = [w for w in words if counts[w.text] >= MIN_EXAMPLES]
        if len({w.text for w in words}) < 2:
            raise InputError(
                "too few words to train a lip reader on",
                seen=f"{len(words)} that occur {MIN_EXAMPLES} times or more",
                remedy="give more clips with word times of this person",
            )
        inside = (mouth.times_s >= library_s[0]) & (mouth.times_s < library_s[1])
        features = _features(mouth, words, inside, SHIFTS_S)
        labels = np.array([w.text for w in words] * len(SHIFTS_S))
        self._model = make_pipeline(
            PCA(EXPLAINED_VARIANCE), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        ).fit(features, labels)
        self.vocabulary = frozenset(labels.tolist())

    def accuracy(self, mouth: MouthCurves, words: Sequence[Word]) -> float:
        """Fraction of the words within a mouth that are recognised; NaN if there are none."""
        words = self.words_within(mouth, words)
        if not words:
            return float("nan")
        whole = np.ones(len(mouth), bool)
        guesses = self._model.predict(_features(mouth, words, whole, (0.0,)))
        return float((guesses == np.array([w.text for w in words])).mean())

    def words_within(self, mouth: MouthCurves, words: Sequence[Word]) -> list[Word]:
        """Words of the vocabulary that lie wholly inside a mouth's time."""
        first, last = mouth.times_s[0], mouth.times_s[-1]
        return [
            w for w in words if w.text in self.vocabulary and first <= w.start_s and w.end_s <= last
        ]

    def chance(self, mouth: MouthCurves, words: Sequence[Word]) -> float:
        """Accuracy of always answering with the most frequent of these words."""
        counts = Counter(w.text for w in self.words_within(mouth, words))
        return max(counts.values()) / sum(counts.values()) if counts else float("nan")


def _features(
    mouth: MouthCurves, words: Sequence[Word], inside: BoolArray, shifts_s: Sequence[float]
) -> FloatArray:
    """Lip points over each word, once for each shift: float [words * shifts, SAMPLES * 80].

    Relative to this mouth's own mean, in units of its own spread: the amplitude is measured by
    another metric.
    """
    points = mouth.lips.reshape(len(mouth), -1)
    points = points - points[inside].mean(0)
    points /= max(float(points[inside].std()), 1e-6)
    rows = []
    for shift_s in shifts_s:
        for w in words:
            moments = np.linspace(w.start_s - MARGIN_S, w.end_s + MARGIN_S, SAMPLES) + shift_s
            rows.append(interpolate_at_times(points, mouth.times_s, moments).T)
    return np.array(rows).reshape(len(rows), -1)
