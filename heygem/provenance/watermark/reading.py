"""Reading the watermark under a hypothesis of what a copy has undergone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray
from heygem.provenance.watermark.codec import CODE_BITS, decode, encode
from heygem.provenance.watermark.content import CELLS, content_values, smooth
from heygem.provenance.watermark.pattern import CARRIER_HZ, GRID, PERIOD_S, ChipLayout
from heygem.provenance.watermark.residual import FINE, SIDE, Blocks, Residual

CELL_SAMPLES = 2  # per cell, across and down, in received pictures
MIN_PILOT_SIGMA = 4.0  # chance exceeds it about once in 3000 attempts
# For a known id, with FEW_TESTS; chance: exp(-6.5**2 / 2), once in 1.5e9 tests.
MIN_KNOWN_SIGMA = 6.5
FEW_TESTS = 2000
REFINED_SIGMA = 5.5  # more than chance in a search for crops: worth a closer look
_REACHES = (2.0, 1.0, 0.5)  # samples by which the edges move in a closer look
_CACHED = 4  # alignments whose blocks are stored
_SPEED_STEPS = (0.006, 0.003, 0.0015)  # in a closer look
_REGION = 4  # chips across and down: further apart, the content's signs are independent
_MIN_AGREEMENT = 4.5  # of the regions, in sigma; another picture's signs give 0 +- 1
AS_MADE = np.eye(2, 3)


@dataclass(frozen=True)
class Detection:
    """The result of a detection.

    `watermark_id` is None without a watermark; `pilot_sigma` and `data_sigma` are in standard
    deviations of chance; `transform` names what the copy has undergone, or why nothing was
    detected; `recognised` is true if the id was matched among known ones rather than decoded;
    `is_content_bound` is false for watermarks of the earlier scheme, which anybody who has one
    result can carry over to another video: they are a hint, not proof.
    """

    watermark_id: int | None
    pilot_sigma: float
    data_sigma: float
    transform: str
    recognised: bool = False
    is_content_bound: bool = False


class KnownIds:
    """Ids with their code words, float32 [n, CODE_BITS]."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = tuple(ids)
        words = [encode(each) for each in self.ids]
        self.words = np.stack(words) if words else np.zeros((0, CODE_BITS), np.float32)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """What a copy may have undergone, and the layout it may carry.

    `matrix` leads from the original's samples (x, y; `SIDE` across) to those of the copy,
    float64 [2, 3].
    """

    transform: str
    layout: ChipLayout
    matrix: NDArray[np.float64] = field(default_factory=lambda: AS_MADE)
    speed: float = 1.0


def crop_matrix(x: float, y: float, width: float, height: float) -> NDArray[np.float64]:
    """The matrix of a copy that shows only a part of the original, in its widths and heights."""
    return np.array(
        [
            [1 / width, 0, -x / width * SIDE + (1 / width - 1) / 2],
            [0, 1 / height, -y / height * SIDE + (1 / height - 1) / 2],
        ]
    )


def mirrored(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix to the copy's mirror image."""
    return np.array([[-1, 0, SIDE - 1], [0, 1, 0]]) @ np.vstack([matrix, [0, 0, 1]])


def rotation_matrix(degrees: float, zoom: float = 1.0, aspect: float = 1.0) -> NDArray[np.float64]:
    """The matrix of a copy that is turned anticlockwise about its centre, and enlarged.

    `aspect` is the width of the frame by its height; right angles exchange them, for which it is 1.
    """
    cosine, sine = zoom * np.cos(np.deg2rad(degrees)), zoom * np.sin(np.deg2rad(degrees))
    linear = np.array([[cosine, sine / aspect], [-sine * aspect, cosine]])
    centre = np.full(2, (SIDE - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre])


class Reader:
    """Reads the watermark of one stretch of frames.

    Parameters
    ----------
    secret
    residual
    cells
        Grey levels of all frames, float32 [T, 64, 64].
    known
        Ids that are recognised even if decoding fails.
    """

    def __init__(
        self,
        secret: bytes,
        residual: Residual,
        cells: Sequence[FloatArray],
        known: "KnownIds",
    ) -> None:
        self._secret = secret
        self._residual = residual
        self._cells = cells
        self._known = known
        self._blocks: dict[tuple[float, float], Blocks] = {}
        self._tests = 0

    def blocks(self, offset_s: float = 0.0, speed: float = 1.0) -> Blocks:
        """The wave in blocks, cached."""
        key = (offset_s, speed)
        if key not in self._blocks:
            if len(self._blocks) >= _CACHED:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[key] = self._residual.blocks(offset_s, speed)
        return self._blocks[key]

    def smooth_cells(self, blocks: Blocks) -> list[FloatArray]:
        """The running average of the copy's cells at the start of every block."""
        return list(smooth(self._cells[first] for first in blocks.first))

    def test(self, hypothesis: Hypothesis) -> Detection:
        """Decode the watermark under a hypothesis, or recognise one of the known ids."""
        values, phase, sigma = self._values(hypothesis, 0.0)
        # The pilot's phase tells where periods begin, and so which pictures gave them their signs.
        angle = float(np.angle(phase))
        offset_s = (angle + np.pi / 2) / (2 * np.pi * CARRIER_HZ) % PERIOD_S
        is_shifted = min(offset_s, PERIOD_S - offset_s) > PERIOD_S / 8
        if not (hypothesis.layout.has_content and sigma >= MIN_PILOT_SIGMA and is_shifted):
            offset_s = 0.0
        if offset_s:
            shifted = self._values(hypothesis, offset_s)
            if shifted[2] > sigma:
                values, phase, sigma = shifted
        detection = _decode(hypothesis, values, phase, sigma)
        if detection.watermark_id is None and sigma >= REFINED_SIGMA:
            values, phase, sigma = self._refine(hypothesis, offset_s)
            detection = _decode(hypothesis, values, phase, sigma)
        if detection.watermark_id is None:
            return self._recognise(hypothesis, values, sigma)
        return detection

    def _refine(
        self, hypothesis: Hypothesis, offset_s: float
    ) -> tuple[NDArray[np.complexfloating], complex, float]:
        """The values under the affine map, and the speed, that the pilot fits best."""
        best = self._values(hypothesis, offset_s)
        for step in _SPEED_STEPS if hypothesis.speed != 1 else ():
            for factor in (1 - step, 1 + step):
                nearby = replace(hypothesis, speed=hypothesis.speed * factor)
                values = self._values(nearby, offset_s)
                if values[2] > best[2]:
                    best, hypothesis = values, nearby
        for reach in _REACHES:
            for entry in np.ndindex(2, 3):
                for sign in (1, -1):
                    change = np.zeros((2, 3))
                    change[entry] = sign * reach / (1 if entry[1] == 2 else SIDE / 2)
                    # About the centre of the original.
                    change[:, 2] -= change[:, :2] @ np.full(2, (SIDE - 1) / 2)
                    matrix = hypothesis.matrix + hypothesis.matrix[:, :2] @ change
                    nearby = replace(hypothesis, matrix=matrix)
                    values = self._values(nearby, offset_s)
                    if values[2] > best[2]:
                        best, hypothesis = values, nearby
        return best

    def _values(
        self, hypothesis: Hypothesis, offset_s: float
    ) -> tuple[NDArray[np.complexfloating], complex, float]:
        """Chip values [GRID * GRID] without signs of content, the pilot's sum, and its sigma."""
        layout = hypothesis.layout
        blocks = self.blocks(offset_s, hypothesis.speed)
        values = _chip_values(blocks.waves, hypothesis.matrix)
        if layout.has_content:
            pictures = self.smooth_cells(blocks)
            values *= np.stack(
                [
                    content_values(self._secret, _warp_cells(p, hypothesis.matrix)).reshape(-1)
                    for p in pictures
                ]
            )
        total = values.sum(0) * layout.sign
        spread = np.sqrt(np.sum(np.abs(total[layout.pilot]) ** 2) / 2) + 1e-12
        phase = complex(np.sum(total[layout.pilot]))
        return total, phase, float(abs(phase) / spread)

    def _recognise(
        self, hypothesis: Hypothesis, values: NDArray[np.complexfloating], sigma: float
    ) -> Detection:
        """Look for a known id whose pattern is significant as a whole, though not decodable."""
        if not self._known:
            return _detection(hypothesis, None, sigma)
        self._tests += len(self._known)
        least = np.sqrt(MIN_KNOWN_SIGMA**2 + 2 * np.log(max(self._tests / FEW_TESTS, 1)))
        # All ids at once: a code bit's chips are summed before the code words are compared.
        layout = hypothesis.layout
        data = values[layout.data]
        bits = np.bincount(layout.bit, data.real, CODE_BITS) + 1j * np.bincount(
            layout.bit, data.imag, CODE_BITS
        )
        totals = np.abs(self._known.words @ bits.astype(np.complex64))
        best = int(np.argmax(totals))
        data_sigma = _data_sigma(values, layout, self._known.ids[best])
        if data_sigma > least:
            return _detection(hypothesis, self._known.ids[best], sigma, data_sigma, recognised=True)
        return _detection(hypothesis, None, sigma)


def _decode(
    hypothesis: Hypothesis,
    values: NDArray[np.complexfloating],
    phase: complex,
    sigma: float,
) -> Detection:
    """Decode the data chips with the pilot's phase."""
    layout = hypothesis.layout
    if sigma >= MIN_PILOT_SIGMA:
        real = np.real(values * np.exp(-1j * np.angle(phase)))
        soft = np.bincount(layout.bit, real[layout.data], CODE_BITS).astype(np.float32)
        watermark_id = decode(soft)
        data_sigma = 0.0 if watermark_id is None else _data_sigma(values, layout, watermark_id)
        if data_sigma > 0:
            return _detection(hypothesis, watermark_id, sigma, data_sigma)
    return _detection(hypothesis, None, sigma)


def _detection(
    hypothesis: Hypothesis,
    watermark_id: int | None,
    pilot_sigma: float,
    data_sigma: float = 0.0,
    recognised: bool = False,
) -> Detection:
    return Detection(
        watermark_id,
        pilot_sigma,
        data_sigma,
        hypothesis.transform,
        recognised=recognised,
        is_content_bound=watermark_id is not None and hypothesis.layout.has_content,
    )


def _chip_values(
    waves: NDArray[np.complex64], matrix: NDArray[np.float64]
) -> NDArray[np.complexfloating]:
    """The waves of all chips, [K, GRID * GRID]; 0 outside the copy."""
    if not np.array_equal(matrix, AS_MADE):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pairs = waves.view(np.float32).reshape(len(waves), SIDE, SIDE, 2)
        planes = [cv2.warpAffine(pair, matrix, (SIDE, SIDE), flags=flags) for pair in pairs]
        waves = np.stack(planes).view(np.complex64)
    grid = waves.reshape(len(waves), GRID, FINE, GRID, FINE)
    return grid.mean((2, 4)).reshape(len(waves), -1)


def _warp_cells(picture: FloatArray, matrix: NDArray[np.float64]) -> FloatArray:
    """A copy's cells in the original's geometry, float32 [CELLS, CELLS]."""
    if not np.array_equal(matrix, AS_MADE):
        side = len(picture)
        scale = side / SIDE
        scaled = matrix.copy()
        # Centres of samples, in the larger pixels of `picture`.
        scaled[:, 2] = (matrix[:, 2] + 0.5 - matrix[:, :2] @ [0.5, 0.5]) * scale
        scaled[:, 2] += scaled[:, :2] @ [0.5, 0.5] - 0.5
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpAffine(
            picture, scaled, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT
        )
    return cv2.resize(picture, (CELLS, CELLS), interpolation=cv2.INTER_AREA)


def _data_sigma(
    values: NDArray[np.complexfloating], layout: ChipLayout, watermark_id: int
) -> float:
    """Significance of an id's data chips, in sigma, at any phase; 0 if the regions disagree.

    The pilot is left out: a crop is selected by its pilot, which would then count twice. A pattern
    that was carried over from another picture agrees with this one's signs in some regions and
    disagrees in others, so that the sum is far greater than its chips' noise: the spread of the
    regions' sums shows it.
    """
    chips = values * layout.word(watermark_id)
    data = chips[layout.data]
    total = np.sum(data)
    sigma = np.abs(total) / (np.sqrt(np.sum(np.abs(data) ** 2) / 2) + 1e-12)
    chips[layout.pilot] = 0
    blocks = GRID // _REGION
    real = np.real(chips * np.exp(-1j * np.angle(total)))
    regions = real.reshape(blocks, _REGION, blocks, _REGION).sum((1, 3))
    agreement = np.sum(regions) / (np.sqrt(np.sum(regions**2)) + 1e-12)
    return float(sigma) if agreement > _MIN_AGREEMENT else 0.0
