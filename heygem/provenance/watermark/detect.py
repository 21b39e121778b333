"""Detection of the watermark in a video that may have been re-encoded, scaled, cropped or mirrored.

Every frame is reduced to a small square of fine contrast, and the watermark's wave is taken from it
block by block (`residual`). The detector multiplies it by the content's signs, computed anew from
the copy, and correlates the pilot with it; if the pilot is significant, the data chips are read
with its phase and decoded (`reading`). Hypotheses of what the copy has undergone come in stages,
cheap and frequent ones first: as made, mirrored or turned by right angles; in a part of the frame
(`areas`); cropped (`crops`); faster or slower; turned by some degrees. Watermarks of the earlier
scheme are read alike, without content.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import Image
from heygem.provenance.watermark.areas import Area, area_between_bars, likely_areas
from heygem.provenance.watermark.content import CELLS
from heygem.provenance.watermark.crops import likely_crops
from heygem.provenance.watermark.pattern import DENSITIES, ChipLayout, chip_layout
from heygem.provenance.watermark.reading import (
    AS_MADE,
    CELL_SAMPLES,
    Detection,
    Hypothesis,
    KnownIds,
    Reader,
    crop_matrix,
    mirrored,
    rotation_matrix,
)
from heygem.provenance.watermark.residual import FINE, SIDE, Residual

WINDOW_S = 20.0  # longest duration that is analysed
TOO_SHORT = "too short to read"
MIN_S = 0.8  # two periods of the carrier
_MAX_CONTRAST = 12  # grey levels
_LONG_SIDE_PX = 640  # frames are reduced to this
_MAX_RATE_HZ = 31.0  # more frames are left out
_SPEEDS = tuple(float(speed) for speed in np.exp(np.arange(-0.30, 0.301, 0.015)))
_DEGREES = tuple(float(angle) for angle in np.arange(0.5, 5.3, 0.5))
_SCHEMES = (True, False)  # with the content's signs, and the earlier one without


class WatermarkDetector:
    """Collects the frames of a clip, then detects its watermark.

    Parameters
    ----------
    secret
        `Keys.watermark_secret` of the installation that may have made the file.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._frames: list[NDArray[np.uint8]] = []
        self._times_s: list[float] = []

    def add(self, image: Image, time_s: float) -> None:
        """Add one frame, uint8 [H, W, 3], RGB, and its time."""
        if self._times_s and time_s - self._times_s[-1] < 1 / _MAX_RATE_HZ - 0.004:
            return
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scale = _LONG_SIDE_PX / max(grey.shape)
        if scale < 1:
            size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        self._frames.append(np.asarray(grey, np.uint8))
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
            Also search for parts of frames, crops, other speeds and angles, which takes seconds.
        """
        best = Detection(None, 0.0, 0.0, "nothing found")
        if len(self._frames) < 4 or self.span_s < MIN_S:
            return Detection(None, 0.0, 0.0, TOO_SHORT)
        for reader, hypothesis in self._hypotheses(KnownIds(known_ids), search):
            detection = reader.test(hypothesis)
            if detection.watermark_id is not None:
                return detection
            if detection.pilot_sigma > best.pilot_sigma:
                best = detection
        return best

    def _hypotheses(self, known: KnownIds, search: bool) -> Iterator[tuple[Reader, Hypothesis]]:
        whole = self._reader(None, known)
        for hypothesis in self._upright():
            yield whole, hypothesis
        middle = self._frames[len(self._frames) // 2]
        bars = area_between_bars(middle)
        if bars not in (None, (slice(0, middle.shape[0]), slice(0, middle.shape[1]))):
            inner = self._reader(bars, known)
            for hypothesis in self._upright():
                yield inner, replace(hypothesis, transform=_inside(hypothesis.transform))
        if not search:
            return
        for hypothesis in self._turned():
            yield whole, hypothesis
        readers = [self._reader(area, known) for area in likely_areas(self._frames, self._times_s)]
        for inner in readers:
            for hypothesis in [*self._upright(), *self._turned()]:
                yield inner, replace(hypothesis, transform=_inside(hypothesis.transform))
        for hypothesis in self._cropped(whole):
            yield whole, hypothesis
        for hypothesis in self._otherwise(self._frames[0].shape):
            yield whole, hypothesis
        for inner in readers[:2]:
            for hypothesis in self._cropped(inner):
                yield inner, replace(hypothesis, transform=_inside(hypothesis.transform))

    def _reader(self, area: Area | None, known: KnownIds) -> Reader:
        """A reader of a part of all frames."""
        fine, cells = [], []
        side = CELLS * CELL_SAMPLES
        for frame in self._frames:
            grey = frame if area is None else frame[area]
            small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
            detail = small - cv2.blur(small, (2 * FINE + 1, 2 * FINE + 1))
            fine.append(np.clip(detail, -_MAX_CONTRAST, _MAX_CONTRAST).astype(np.float16))
            cells.append(cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA))
        return Reader(self._secret, Residual(self._times_s, fine), cells, known)

    def _layouts(self, has_content: bool) -> list[ChipLayout]:
        return [chip_layout(self._secret, density, has_content) for density in DENSITIES]

    def _upright(self) -> Iterator[Hypothesis]:
        for has_content in _SCHEMES:
            for layout in self._layouts(has_content):
                yield Hypothesis("as made", layout)
                yield Hypothesis("mirrored", layout, mirrored(AS_MADE))

    def _turned(self) -> Iterator[Hypothesis]:
        """By right angles, which exchanges width and height."""
        for has_content in _SCHEMES:
            for layout in self._layouts(has_content):
                for degrees in (90, 180, 270):
                    matrix = rotation_matrix(degrees)
                    yield Hypothesis(f"turned by {degrees}°", layout, matrix)
                    name = f"mirrored and turned by {degrees}°"
                    yield Hypothesis(name, layout, mirrored(matrix))

    def _otherwise(self, shape: tuple[int, ...]) -> Iterator[Hypothesis]:
        """At other speeds, then at small angles, with the corners cut and with a larger picture."""
        layouts = [layout for scheme in _SCHEMES for layout in self._layouts(scheme)]
        for speed in _SPEEDS:
            for layout in layouts:
                yield Hypothesis("at another speed", layout, speed=speed)
        height, width = shape
        for degrees in (sign * angle for angle in _DEGREES for sign in (1, -1)):
            for zoom in (1.0, _zoom_without_corners(abs(degrees), width / height)):
                matrix = rotation_matrix(degrees, zoom, width / height)
                for layout in layouts:
                    yield Hypothesis("turned by a few degrees", layout, matrix)

    def _cropped(self, reader: Reader) -> Iterator[Hypothesis]:
        blocks = reader.blocks()
        pictures = reader.smooth_cells(blocks)
        for has_content in _SCHEMES:
            for is_mirrored in (False, True):
                step = -1 if is_mirrored else 1
                transform = "mirrored and cropped" if is_mirrored else "cropped"
                crops = likely_crops(
                    self._secret,
                    np.ascontiguousarray(blocks.waves[:, :, ::step]),
                    [np.ascontiguousarray(picture[:, ::step]) for picture in pictures],
                    self._layouts(has_content),
                )
                for layout, crop in crops:
                    matrix = crop_matrix(*crop)
                    yield Hypothesis(transform, layout, mirrored(matrix) if is_mirrored else matrix)


def _inside(transform: str) -> str:
    return f"{transform}, in a part of the frame"


def _zoom_without_corners(degrees: float, aspect: float) -> float:
    """The enlargement at which a turned picture still fills its frame."""
    angle = np.deg2rad(degrees)
    return float(np.cos(angle) + max(aspect, 1 / aspect) * np.sin(angle))
