"""Detection of the watermark in a video that may have been re-encoded, scaled, cropped or mirrored.

Every frame is reduced to a small square of fine contrast, and the watermark's wave is taken from it
block by block (`residual`). The detector multiplies it by the content's signs, computed anew from
the copy, and correlates the pilot with it: as it is first, then mirrored, then cropped, over all
shifts at once (`crops`). If the pilot is significant, the data chips are read with its phase and
decoded (`reading`). Watermarks of the earlier scheme are read alike, without content.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, Image
from heygem.provenance.watermark.content import CELLS
from heygem.provenance.watermark.crops import likely_crops
from heygem.provenance.watermark.pattern import DENSITIES, chip_layout
from heygem.provenance.watermark.reading import (
    CELL_SAMPLES,
    Detection,
    Hypothesis,
    Reader,
    crop_matrix,
    mirrored,
)
from heygem.provenance.watermark.residual import FINE, SIDE, Residual

WINDOW_S = 20.0  # longest duration that is analysed
BAR_LEVEL = 40  # pixels of black bars are darker
TOO_SHORT = "too short to read"
MIN_S = 0.8  # two periods of the carrier
_MAX_CONTRAST = 12  # grey levels


class WatermarkDetector:
    """Collects the frames of a clip, then detects its watermark.

    Parameters
    ----------
    secret
        `Keys.watermark_secret` of the installation that may have made the file.
    crop_bars
        Also look between black bars, if the first bright frame has any.
    """

    def __init__(self, secret: bytes, *, crop_bars: bool = True) -> None:
        self._secret = secret
        self._fine: list[NDArray[np.float16]] = []
        self._cells: list[FloatArray] = []
        self._times_s: list[float] = []
        self._seeks_bars = crop_bars
        self._picture_area: tuple[slice, slice] | None = None  # between black bars
        self._inner: WatermarkDetector | None = None  # of that area

    def add(self, image: Image, time_s: float) -> None:
        """Add one frame, uint8 [H, W, 3], RGB, and its time."""
        self._add_grey(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8), time_s)

    def _add_grey(self, grey: NDArray[np.uint8], time_s: float) -> None:
        if self._seeks_bars:
            area = _area_between_bars(grey)
            if area is not None:
                self._seeks_bars = False
                if area != (slice(0, grey.shape[0]), slice(0, grey.shape[1])):
                    self._picture_area = area
                    self._inner = WatermarkDetector(self._secret, crop_bars=False)
        if self._inner is not None and self._picture_area is not None:
            self._inner._add_grey(grey[self._picture_area], time_s)
        small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = small - cv2.blur(small, (2 * FINE + 1, 2 * FINE + 1))
        self._fine.append(np.clip(fine, -_MAX_CONTRAST, _MAX_CONTRAST).astype(np.float16))
        side = CELLS * CELL_SAMPLES
        self._cells.append(cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA))
        self._times_s.append(time_s)

    @property
    def span_s(self) -> float:
        """Time from the first to the last frame, seconds."""
        return self._times_s[-1] - self._times_s[0] if self._times_s else 0.0

    def detect(self, known_ids: Sequence[int] = (), *, search: bool = True) -> Detection:
        """Detect the watermark.

        Parameters
        ----------
        known_ids
            Ids that are recognised even if decoding fails.
        search
            Also search for crops, which takes some seconds.
        """
        best = Detection(None, 0.0, 0.0, "nothing found")
        if len(self._fine) < 4 or self.span_s < MIN_S:
            return Detection(None, 0.0, 0.0, TOO_SHORT)
        reader = Reader(self._secret, Residual(self._times_s, self._fine), self._cells, known_ids)
        for hypothesis in self._hypotheses(reader, search):
            detection = reader.test(hypothesis)
            if detection.watermark_id is not None:
                return detection
            if detection.pilot_sigma > best.pilot_sigma:
                best = detection
        if self._inner is not None:
            detection = self._inner.detect(known_ids, search=search)
            if detection.watermark_id is not None:
                return replace(detection, transform=f"{detection.transform}, between black bars")
        return best

    def _hypotheses(self, reader: Reader, search: bool) -> Iterator[Hypothesis]:
        schemes = [
            [chip_layout(self._secret, density, has_content) for density in DENSITIES]
            for has_content in (True, False)
        ]
        as_made = crop_matrix(0, 0, 1, 1)
        for layouts in schemes:
            for layout in layouts:
                yield Hypothesis("as made", layout)
                yield Hypothesis("mirrored", layout, mirrored(as_made))
        if not search:
            return
        blocks = reader.blocks()
        pictures = reader.smooth_cells(blocks)
        for layouts in schemes:
            for is_mirrored in (False, True):
                step = -1 if is_mirrored else 1
                transform = "mirrored and cropped" if is_mirrored else "cropped"
                crops = likely_crops(
                    self._secret,
                    np.ascontiguousarray(blocks.waves[:, :, ::step]),
                    [np.ascontiguousarray(picture[:, ::step]) for picture in pictures],
                    layouts,
                )
                for layout, crop in crops:
                    matrix = crop_matrix(*crop)
                    yield Hypothesis(transform, layout, mirrored(matrix) if is_mirrored else matrix)


def _area_between_bars(grey: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Rows and columns between black bars, all of them without bars; None in a dark frame."""
    spans = []
    for axis in (1, 0):
        lit = np.flatnonzero(grey.max(axis) > BAR_LEVEL)
        if len(lit) < grey.shape[1 - axis] / 5:
            return None  # perhaps a fade-in: decided at a later frame
        spans.append(slice(int(lit[0]), int(lit[-1]) + 1))
    return spans[0], spans[1]
