"""Ridge regression with a prior (a base model), its penalty chosen by cross-validation.

Tikhonov regularisation in closed form: one eigendecomposition of the Gram matrix gives the
solutions for every penalty, and Gram matrices of folds add up, so that leaving folds out costs a
subtraction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from heygem.core.types import BoolArray, FloatArray, IntArray

SCALE_LIMITS = (0.2, 2.0)  # amplitude of a person over the base model's
CORRELATION_TOLERANCE = 0.005  # among penalties this close to the best, the largest is chosen
RANK = 256  # principal directions of the features that are used

Solution = tuple[float, FloatArray, FloatArray]  # scale, weights [D, K], bias [K]
_Moments = tuple[float, FloatArray, FloatArray]  # count, sum [M], Gram matrix [M, M]


@dataclass(frozen=True)
class Folds:
    """Footage divided by time into folds, each of which is held out once.

    Attributes
    ----------
    index : list of int [N], one for each clip
        Fold of each row; -1 for rows that are not valid.
    gap : int
        Rows on both sides of a fold that are left out with it: neighbours share a syllable.
    count : int
    """

    index: list[IntArray]
    gap: int
    count: int

    @classmethod
    def split(cls, valid: Sequence[BoolArray], count: int, gap: int) -> "Folds":
        """Divide clips, one after the other, into `count` folds of equally many valid rows."""
        total = sum(int(v.sum()) for v in valid)
        index, start = [], 0
        for v in valid:
            fold = (start + np.cumsum(v) - 1) * count // max(total, 1)
            index.append(np.where(v, np.clip(fold, 0, count - 1), -1))
            start += int(v.sum())
        return cls(index, gap, count)

    def excluded_by(self, clip: int) -> list[frozenset[int] | None]:
        """For each row of a clip the folds with which it is left out; None: not valid."""
        index = self.index[clip]
        excluded: list[set[int]] = [set() for _ in index]
        for fold in range(self.count):
            rows = np.flatnonzero(index == fold)
            if len(rows):
                for row in range(
                    max(0, rows[0] - self.gap), min(len(index), rows[-1] + 1 + self.gap)
                ):
                    excluded[row].add(fold)
        return [None if f < 0 else frozenset(e) for f, e in zip(index, excluded, strict=True)]


class Ridge:
    """Fits `target = scale * base + (features - mean) @ weights + bias` with small weights.

    The penalty is on the weights, in units of the features' principal directions; for an infinite
    one the base model remains, scaled. Minimised is the mean squared error plus
    `penalty * |weights|^2`.

    Parameters
    ----------
    folds : Folds
    direction : float32 [K]
        Projection of the targets on which the scale is fitted and correlation is measured.
    """

    def __init__(self, folds: Folds, direction: FloatArray) -> None:
        self.folds = folds
        self.direction = np.asarray(direction, np.float64)
        self._rows: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        self._preserved: list[tuple[FloatArray, float]] = []
        self._moments: dict[frozenset[int], _Moments] = {}
        self._preserved_moments: _Moments | None = None

    def add(self, features: FloatArray, base: FloatArray, target: FloatArray) -> None:
        """Add the rows of the next clip: float32 [N, D], [N, K], [N, K]."""
        self._rows.append((features, base, target))

    def preserve(self, features: FloatArray, *, weight: float) -> None:
        """Add rows at which the base model's prediction is to stay as it is, but for its scale."""
        self._preserved.append((features, weight))

    def prepare(self, report_progress: Callable[[], None]) -> None:
        """Sum up the moments that every fit needs."""
        sample = np.concatenate([x[::2] for x, *_ in self._rows])
        self._mean, std = sample.mean(0), sample.std(0) + 1e-6
        sample = (sample - self._mean) / std
        # Hundreds of channels on a minute of one voice vary in fewer directions.
        _, vectors = np.linalg.eigh(sample.T @ sample)
        self._projection = vectors[:, ::-1][:, :RANK] / std[:, None]  # [D, R]
        for clip, (x, base, target) in enumerate(self._rows):
            report_progress()
            excluded = self.folds.excluded_by(clip)
            for key in set(excluded) - {None}:
                assert key is not None
                rows = np.array([each == key for each in excluded])
                moments = self._moments_of(x[rows], base[rows], target[rows])
                self._moments[key] = _add(self._moments.get(key), moments)
        for x, weight in self._preserved:
            zero = np.zeros((len(x), self._rows[0][1].shape[1]), np.float32)
            moments = self._moments_of(x, zero, zero, weight)
            self._preserved_moments = _add(self._preserved_moments, moments)

    def fit(self, penalties: Sequence[float], exclude: Sequence[int] = ()) -> list[Solution]:
        """Fit all folds but some.

        Returns
        -------
        list of (float, float32 [D, K], float32 [K])
            Scale, weights and bias for features as they were added, for each of `penalties`.
        """
        excluded = set(exclude)
        moments = [m for key, m in self._moments.items() if not key & excluded]
        rank = self._projection.shape[1]
        scale = self._fit_scale(_centred(moments)[2], rank)
        if self._preserved_moments is not None:
            moments = [*moments, self._preserved_moments]
        count, mean, gram = _centred(moments)
        k = (len(mean) - rank) // 2
        x, b, y = slice(0, rank), slice(rank, rank + k), slice(rank + k, rank + 2 * k)
        cross = gram[x, y] - scale * gram[x, b]
        values, vectors = np.linalg.eigh(gram[x, x])
        rotated = vectors.T @ cross
        solutions = []
        for penalty in penalties:
            weights = vectors @ (rotated / (np.maximum(values, 0) + penalty * count)[:, None])
            bias = mean[y] - scale * mean[b] - mean[x] @ weights
            weights = self._projection @ weights
            bias = bias - self._mean @ weights
            solutions.append((scale, weights.astype(np.float32), bias.astype(np.float32)))
        return solutions

    def predict(self, solution: Solution, clip: int) -> FloatArray:
        """Prediction for a clip's rows : float32 [N, K]."""
        scale, weights, bias = solution
        x, base, _ = self._rows[clip]
        return scale * base + x @ weights + bias

    def cross_validate(
        self, penalties: Sequence[float], report_progress: Callable[[], None]
    ) -> tuple[FloatArray, list[FloatArray]]:
        """Fit with every penalty and every fold held out.

        Returns
        -------
        (float [P], list of float32 [N, K])
            The correlation for each penalty, over all folds; and for each row the prediction of a
            fit that neither used its fold nor chose its penalty by it (rows of no fold: of the fit
            to all).
        """
        folds = range(self.folds.count)
        # For each fold the correlation on all others, while both are held out.
        nested = {fold: _Correlations(len(penalties)) for fold in folds}
        overall, single = _Correlations(len(penalties)), {}
        for fold in folds:
            report_progress()
            single[fold] = self.fit(penalties, (fold,))
            overall.add(*self._evaluate(single[fold], fold))
            for other in range(fold):
                report_progress()
                solutions = self.fit(penalties, (fold, other))
                nested[fold].add(*self._evaluate(solutions, other))
                nested[other].add(*self._evaluate(solutions, fold))
        correlations = overall.values()
        final = self.fit([penalties[choose_penalty(correlations)]])[0]
        held_out = [self.predict(final, clip) for clip in range(len(self.folds.index))]
        for fold in folds:
            best = single[fold][choose_penalty(nested[fold].values())]
            for clip, index in enumerate(self.folds.index):
                rows = index == fold
                if rows.any():
                    held_out[clip][rows] = self.predict(best, clip)[rows]
        return correlations, held_out

    def _moments_of(
        self, x: FloatArray, base: FloatArray, target: FloatArray, weight: float = 1.0
    ) -> _Moments:
        z = np.concatenate([(x - self._mean) @ self._projection, base, target], 1)
        z = z.astype(np.float32)
        return weight * len(z), weight * z.sum(0, dtype=np.float64), weight * (z.T @ z)

    def _fit_scale(self, gram: FloatArray, rank: int) -> float:
        """Scale of the base along `direction`, by least squares, within `SCALE_LIMITS`."""
        k = (len(gram) - rank) // 2
        base, target = gram[rank : rank + k, rank : rank + k], gram[rank : rank + k, rank + k :]
        one = self.direction
        base_power = max(float(one @ base @ one), 1e-9)
        return float(np.clip(float(one @ target @ one) / base_power, *SCALE_LIMITS))

    def _evaluate(self, solutions: Sequence[Solution], fold: int) -> tuple[FloatArray, FloatArray]:
        """Along `direction`: predictions of each solution for a fold, and the target there."""
        predicted, target = [], []
        for clip, index in enumerate(self.folds.index):
            rows = index == fold
            if rows.any():
                x, base, y = self._rows[clip]
                columns = [
                    scale * (base[rows] @ self.direction)
                    + x[rows] @ (weights @ self.direction)
                    + bias @ self.direction
                    for scale, weights, bias in solutions
                ]
                predicted.append(np.stack(columns))
                target.append(y[rows] @ self.direction)
        return np.concatenate(predicted, 1), np.concatenate(target)


def choose_penalty(correlations: FloatArray) -> int:
    """Index of the largest penalty, of rising ones, that is as good as the best but for a little.

    The curve is flat about its maximum, and a solution closer to the base does better on speech
    that is unlike the footage.
    """
    correlations = np.asarray(correlations)
    good = correlations >= correlations.max() - CORRELATION_TOLERANCE
    return int(np.flatnonzero(good)[-1])


def _add(moments: _Moments | None, more: _Moments) -> _Moments:
    if moments is None:
        return more
    return moments[0] + more[0], moments[1] + more[1], moments[2] + more[2]


def _centred(moments: Sequence[_Moments]) -> _Moments:
    """Number of rows, their mean, and the Gram matrix about it."""
    sums = moments[0]
    for more in moments[1:]:
        sums = _add(sums, more)
    count, total, gram = sums
    mean = total / count
    return count, mean, np.asarray(gram, np.float64) - count * np.outer(mean, mean)


class _Correlations:
    """Correlation of several predictions with the target, over folds, each about its own mean."""

    def __init__(self, count: int) -> None:
        self._products = np.zeros((3, count))

    def add(self, predicted: FloatArray, target: FloatArray) -> None:
        predicted, target = predicted - predicted.mean(1, keepdims=True), target - target.mean()
        power = np.full(len(predicted), (target**2).sum())
        self._products += [predicted @ target, (predicted**2).sum(1), power]

    def values(self) -> FloatArray:
        """One correlation for each prediction : float [P]."""
        both, predicted, target = self._products
        return both / np.sqrt(np.maximum(predicted * target, 1e-12))
