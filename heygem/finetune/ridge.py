"""Ridge regression towards a base, its strength chosen on parts that were held out.

Tikhonov regularisation in closed form: one eigendecomposition of the Gram matrix gives the answers
for every strength, and Gram matrices of parts add up, so that leaving parts out costs nothing but
a subtraction.
"""

from dataclasses import dataclass

import numpy as np

SCALES = (0.2, 2.0)  # how differently from the base a person may articulate
HAIR = 0.005  # of correlation
RANK = 256  # directions of the features that are looked at


@dataclass(frozen=True)
class Parts:
    """Footage in parts by time, each of which is held out once.

    Attributes
    ----------
    block : list of int [N], one for each clip
        Part of each row, -1 where there is nothing to learn.
    guard : int
        Rows beside a part that are not learnt from while it is held out: neighbours share a
        syllable.
    count : int
    """

    block: list
    guard: int
    count: int

    @classmethod
    def of(cls, valid, count, guard):
        """Cut clips, one after the other, into `count` parts with equally many valid rows."""
        total = sum(int(v.sum()) for v in valid)
        block, at = [], 0
        for v in valid:
            number = (at + np.cumsum(v) - 1) * count // max(total, 1)
            block.append(np.where(v, np.clip(number, 0, count - 1), -1))
            at += int(v.sum())
        return cls(block, guard, count)

    def learnt(self, without):
        """Rows to learn from while the parts `without` are held out : list of bool [N]."""
        out = []
        for block in self.block:
            keep = block >= 0
            for part in without:
                own = np.flatnonzero(block == part)
                if len(own):
                    keep[max(0, own[0] - self.guard) : own[-1] + 1 + self.guard] = False
            out.append(keep)
        return out


class Ridge:
    """`want = scale * base + (features - mean) @ readout + bias`, the readout held to nought.

    Parameters
    ----------
    parts : Parts
    direction : float32 [K]
        Along which the scale is fitted, and answers are judged.
    """

    def __init__(self, parts, direction):
        self.parts = parts
        self.direction = np.asarray(direction, np.float64)
        self._rows = []  # of each clip: features, base, want
        self._held = []
        self._sums = {}

    def add(self, features, base, want):
        """Rows of the next clip: float32 [N, D], [N, K], [N, K]."""
        self._rows.append((features, base, want))

    def hold(self, features, *, weight):
        """Rows at which the base's answer, scaled, is to stay as it is."""
        self._held.append((features, weight))

    def prepare(self, tell):
        """Sum up what every fit needs; `tell()` is called between the steps."""
        some = np.concatenate([x[::2] for x, *_ in self._rows])
        self._mean, size = some.mean(0), some.std(0) + 1e-6
        some = (some - self._mean) / size
        # What hundreds of channels say of a minute of one voice lies in fewer directions.
        _, vectors = np.linalg.eigh(some.T @ some)
        self._turn = vectors[:, ::-1][:, :RANK] / size[:, None]  # [D, R]
        labels = [self._labels(clip) for clip in range(len(self.parts.block))]
        for clip, (x, base, want) in enumerate(self._rows):
            tell()
            for label in set(labels[clip]) - {None}:
                which = np.array([each == label for each in labels[clip]])
                self._sum(label, x[which], base[which], want[which])
        nought = np.zeros((1, self._rows[0][1].shape[1]), np.float32)
        for x, weight in self._held:
            self._sum("held", x, *([nought.repeat(len(x), 0)] * 2), weight)

    def _labels(self, clip):
        """Which parts, when held out, forbid each row: a frozenset, or None."""
        block = self.parts.block[clip]
        forbid = [set() for _ in block]
        for part in range(self.parts.count):
            own = np.flatnonzero(block == part)
            if len(own):
                guard = self.parts.guard
                for row in range(max(0, own[0] - guard), min(len(block), own[-1] + 1 + guard)):
                    forbid[row].add(part)
        return [None if b < 0 else frozenset(f) for b, f in zip(block, forbid, strict=True)]

    def _sum(self, label, x, base, want, weight=1.0):
        z = np.concatenate([(x - self._mean) @ self._turn, base, want], 1).astype(np.float32)
        sums = (weight * len(z), weight * z.sum(0, dtype=np.float64), weight * (z.T @ z))
        before = self._sums.get(label)
        self._sums[label] = (
            sums if before is None else [a + b for a, b in zip(before, sums, strict=True)]
        )

    def fit(self, strengths, without=()):
        """Fits of all parts but some.

        Returns
        -------
        list of (float, float32 [D, K], float32 [K])
            Scale, readout and bias for features as they are, for each of `strengths`.
        """
        without = set(without)
        sums = [s for label, s in self._sums.items() if label != "held" and not label & without]
        d = self._turn.shape[1]
        scale = self._scale(*_centred(sums), d)
        n, mean, gram = _centred([*sums, self._sums["held"]] if self._held else sums)
        k = (len(mean) - d) // 2
        x, b, y = slice(0, d), slice(d, d + k), slice(d + k, d + 2 * k)
        cross = gram[x, y] - scale * gram[x, b]
        values, vectors = np.linalg.eigh(gram[x, x])
        turned = vectors.T @ cross
        fits = []
        for strength in strengths:
            readout = vectors @ (turned / (np.maximum(values, 0) + strength * n)[:, None])
            bias = mean[y] - scale * mean[b] - mean[x] @ readout
            readout = self._turn @ readout
            bias = bias - self._mean @ readout
            fits.append((scale, readout.astype(np.float32), bias.astype(np.float32)))
        return fits

    def _scale(self, n, mean, gram, d):
        k = (len(mean) - d) // 2
        b, y = gram[d : d + k, d : d + k], gram[d : d + k, d + k :]
        one = self.direction
        return float(np.clip((one @ y @ one) / max(one @ b @ one, 1e-9), *SCALES))

    def said(self, fit, clip):
        """What a fit says of a clip's rows : float32 [N, K]."""
        scale, readout, bias = fit
        x, base, _ = self._rows[clip]
        return scale * base + x @ readout + bias

    def search(self, strengths, tell):
        """Try every strength on every part while it is held out.

        Returns
        -------
        (float [S], list of float32 [N, K])
            The correlation at each strength, over all parts; and what is said of each row by a fit
            that saw neither its part nor chose its strength by it (rows to learn nothing from:
            by the fit of all).
        """
        parts = range(self.parts.count)
        judged = {part: _Pairs(len(strengths)) for part in parts}  # by all others
        whole, singles = _Pairs(len(strengths)), {}
        for one in parts:
            tell()
            singles[one] = self.fit(strengths, (one,))
            whole.add(self._judge(singles[one], one))
            for other in range(one):
                tell()
                fits = self.fit(strengths, (one, other))
                judged[one].add(self._judge(fits, other))
                judged[other].add(self._judge(fits, one))
        tried = whole.correlation()
        final = self.fit([strengths[modest(tried)]])[0]
        outside = [self.said(final, clip) for clip in range(len(self.parts.block))]
        for part in parts:
            best = singles[part][modest(judged[part].correlation())]
            for clip, block in enumerate(self.parts.block):
                own = block == part
                if own.any():
                    outside[clip][own] = self.said(best, clip)[own]
        return tried, outside

    def _judge(self, fits, part):
        """Along `direction`: what each fit says of a part, and what is wanted there."""
        said, wanted = [], []
        for clip, block in enumerate(self.parts.block):
            own = block == part
            if own.any():
                x, base, want = self._rows[clip]
                columns = [
                    scale * (base[own] @ self.direction)
                    + x[own] @ (readout @ self.direction)
                    + bias @ self.direction
                    for scale, readout, bias in fits
                ]
                said.append(np.stack(columns))
                wanted.append(want[own] @ self.direction)
        return np.concatenate(said, 1), np.concatenate(wanted)


def modest(tried):
    """Index of the strongest pull, of rising ones, that is as good as the best but for a hair.

    The curve is flat about its top, and what is held closer to the base does better on other
    sound than this.
    """
    tried = np.asarray(tried)
    return int(np.flatnonzero(tried >= tried.max() - HAIR)[-1])


def _centred(sums):
    """Rows, their mean, and the Gram matrix about it."""
    n, total, gram = (sum(column) for column in zip(*sums, strict=True))
    mean = total / n
    return n, mean, np.asarray(gram, np.float64) - n * np.outer(mean, mean)


class _Pairs:
    """Correlation of several answers with the truth, over parts with means of their own."""

    def __init__(self, count):
        self._products = np.zeros((3, count))

    def add(self, pair):
        said, wanted = pair
        said, wanted = said - said.mean(1, keepdims=True), wanted - wanted.mean()
        self._products += [said @ wanted, (said**2).sum(1), np.full(len(said), (wanted**2).sum())]

    def correlation(self):
        both, said, wanted = self._products
        return both / np.sqrt(np.maximum(said * wanted, 1e-12))
