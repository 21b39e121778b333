"""Embedding of the watermark: 64 bits in the brightness of all frames.

Spread spectrum (Cox et al., IEEE Trans. Image Processing 6(12), 1997) over a grid of chips that
covers the whole frame in relative coordinates, so that scaling does not displace it. The pattern's
sign alternates every 0.2 s. The detector correlates at 2.5 Hz, at any frame rate and from any
start, and static image content cancels; abrupt sign changes also survive encoders that drop slow
drifts. A quarter of the chips is a pilot that gives the detector phase, polarity, mirroring and
crop; the others carry the code word (`codec`). The strength follows the local contrast, which masks
the watermark. The installation's secret and the picture's content determine the signs (`pattern`,
`content`): each period of 0.4 s has the signs of the pictures up to its first frame.

An encoder spends bits on every sign change in static regions. The cost depends on the number of
blocks that change, not on the amplitude: so the watermark is confined to some patches of the frame,
chosen by the secret. Large frames have more chips than needed and use a quarter of their area;
small ones use half of it, with a higher strength. The cost is also why the alternation itself is
public: an encoder predicts what repeats, and a keyed sequence of signs, which neither an encoder
nor an attacker can predict, doubled the growth of some files.
"""

import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import BoolArray, FloatArray, Image
from heygem.media.colour import grey_factors
from heygem.media.yuv import YuvImage
from heygem.provenance.watermark.content import CELLS, content_values, update_average
from heygem.provenance.watermark.pattern import DENSE, SPARSE, chip_layout, period_at

LARGE_PX = 600_000  # frames of at least this many pixels use SPARSE
STRENGTH = {SPARSE: 1.35, DENSE: 2.5}  # grey levels in a flat region
MIN_PSNR_DB = 42.5
WEIGHTS = 0.6, 2.4  # of the strength, in flat and in rich places
CONTRAST_LEVELS = 5.0  # by which the weight rises by the strength, grey levels


class Chips(NamedTuple):
    """What the pattern of a frame is drawn from.

    Attributes
    ----------
    values : float32 [GRID, GRID]
        Of the frame's period; the same array for all its frames.
    sign : float
        Of the pattern in this frame: 1 or -1.
    """

    values: FloatArray
    sign: float


class WatermarkEmbedder:
    """Embeds one id into the frames of one clip.

    Parameters
    ----------
    secret
        `Keys.watermark_secret`.
    watermark_id
        0 .. 2**64 - 1; see `new_id`.
    width, height
        Size of the frames, pixels.
    strength
        Grey levels in a flat region; contrast raises it, up to four times. By default `STRENGTH`.

    Attributes
    ----------
    strength, limit : float
        Grey levels: of the pattern in a flat region, and at most in its root mean square.
    small : (int, int)
        Width and height at which contrast is measured.
    """

    def __init__(
        self,
        secret: bytes,
        watermark_id: int,
        width: int,
        height: int,
        *,
        strength: float | None = None,
    ) -> None:
        self.watermark_id = watermark_id
        density = SPARSE if width * height >= LARGE_PX else DENSE
        self._secret = secret
        self._signs = chip_layout(secret, density).pattern(watermark_id)
        self.strength = STRENGTH[density] if strength is None else strength
        # The error limit holds for the whole frame: used patches may exceed it accordingly.
        self.limit = 255 * 10 ** (-MIN_PSNR_DB / 20) / np.sqrt(density)
        self._period: int | None = None
        self._cells: FloatArray | None = None
        self._values: FloatArray | None = None  # of the period's chips
        self._drawn: FloatArray | None = None  # those whose pattern is in the buffer
        self._pattern = np.empty((height, width), np.float32)
        self._blocks: BoolArray | None = None  # of the pattern that change a frame in planes
        self._steps: NDArray[np.int16] | None = None  # of RGB frames
        self._fine: NDArray[np.uint8] | None = None  # of frames in planes
        self.small = (max(width // 4, 1), max(height // 4, 1))

    def embed(self, image: Image, time_s: float) -> Image:
        """The frame with the watermark.

        Parameters
        ----------
        image
            uint8 [H, W, 3], RGB; frames come in order of time.
        time_s
            The frame's own time.

        Returns
        -------
        uint8 [H, W, 3]
            Its PSNR against `image` is at least `MIN_PSNR_DB`.
        """
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        mean = cv2.resize(grey, self.small, interpolation=cv2.INTER_AREA).astype(np.float32)
        chips = self._set_period(mean, time_s)
        # The same step in all three channels: colour is unchanged. The buffers are reused, since
        # allocating memory of this size takes longer than the arithmetic.
        if self._steps is None:
            self._steps = np.empty(image.shape, np.int16)
        fine = np.asarray(cv2.absdiff(grey, cv2.blur(grey, (7, 7))), np.uint8)
        level = cv2.resize(self._weight(fine, mean), image.shape[1::-1])
        step = cv2.multiply(level, self._pattern_of(chips), scale=chips.sign, dtype=cv2.CV_16S)
        cv2.merge([step] * 3, dst=self._steps)
        return cv2.add(image, self._steps, dtype=cv2.CV_8U).astype(np.uint8, copy=False)

    def embed_in_planes(self, image: YuvImage, time_s: float) -> None:
        """As `embed`, into the luma of a frame in the codec's planes, in place.

        A step in all channels of RGB is a step in luma alone.
        """
        mean = self._grey(image)
        self._add_pattern(image, mean, self._set_period(mean, time_s))

    def plan(self, image: YuvImage, time_s: float) -> Chips:
        """All that a frame's watermark owes to the frames before it; once a frame, in their order.

        The rest needs the frame alone: `embed_planned` does it here, and
        `heygem.provenance.torch_label` on a device.
        """
        starts = period_at(time_s)[0] != self._period
        return self._set_period(self._grey(image) if starts else None, time_s)

    def embed_planned(self, image: YuvImage, chips: Chips) -> None:
        """As `embed_in_planes`, for a frame that `plan` was called with."""
        self._add_pattern(image, self._grey(image), chips)

    def _grey(self, image: YuvImage) -> FloatArray:
        """The grey of RGB at a quarter of the size : float32 [h, w]."""
        from heygem.provenance.watermark import kernels

        planes = (_quarter(plane, self.small) for plane in (image.y, image.u, image.v))
        return np.asarray(kernels.grey(*planes, *grey_factors(image.matrix)), np.float32)

    def _add_pattern(self, image: YuvImage, mean: FloatArray, chips: Chips) -> None:
        from heygem.provenance.watermark import kernels

        luma = grey_factors(image.matrix)[0]
        if self._fine is None:
            self._fine = np.empty(image.y.shape, np.uint8)
        kernels.fine_contrast(image.y, self._fine)
        weight = self._weight(self._fine, mean, levels=float(luma))
        # Across only: the loop over the pixels interpolates down the columns.
        level = cv2.resize(weight, (image.y.shape[1], weight.shape[0]))
        pattern = self._pattern_of(chips)
        kernels.add_pattern(
            image.y, level, pattern, self._changed_blocks(), np.float32(chips.sign), 1 / luma
        )

    def _set_period(self, mean: FloatArray | None, time_s: float) -> Chips:
        """The chips of a frame; `mean`, its grey, is needed where it is the first of a period."""
        period, is_inverted = period_at(time_s)
        if period != self._period:
            assert mean is not None
            cells = cv2.resize(mean, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
            self._cells = update_average(self._cells, cells)
            self._period = period
            self._values = None
        if self._values is None:
            assert self._cells is not None
            self._values = self._signs * content_values(self._secret, self._cells)
        return Chips(self._values, -1.0 if is_inverted else 1.0)

    def state(self) -> dict[str, NDArray[Any]]:
        """What a later embedder of the same id needs to continue after these frames."""
        if self._cells is None or self._period is None:
            return {}
        return {"cells": np.asarray(self._cells), "period": np.array(self._period)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue where another embedder was, given its `state`."""
        if "cells" in state:
            self._cells = np.array(state["cells"])
            self._period = int(state["period"])
            self._values = None

    def _pattern_of(self, chips: Chips) -> FloatArray:
        """The pattern at the frame's size, in the buffer : float32 [H, W]."""
        if self._drawn is not chips.values:
            size = self._pattern.shape[::-1]
            cv2.resize(chips.values, size, dst=self._pattern, interpolation=cv2.INTER_CUBIC)
            self._drawn = chips.values
            self._blocks = None
        return self._pattern

    def _changed_blocks(self) -> BoolArray:
        """Blocks of the pattern with a value that can reach half a grey level."""
        from heygem.provenance.watermark import kernels

        if self._blocks is None:
            height, width = self._pattern.shape
            columns, rows = kernels.BLOCK
            self._blocks = np.empty((-(-height // rows), -(-width // columns)), bool)
            least = np.float32(0.5 / (WEIGHTS[1] * self.strength))
            kernels.find_blocks(self._pattern, least, self._blocks)
        return self._blocks

    def _weight(self, fine: NDArray[np.uint8], mean: FloatArray, levels: float = 1.0) -> FloatArray:
        """Local strength in grey levels, at a quarter of the size.

        `fine` uint8 [H, W] is the distance from the local mean, in units of `levels` grey levels;
        `mean` the grey at a quarter.
        """
        coarse = np.abs(mean - cv2.blur(mean, (3, 3)))
        contrast = cv2.blur(levels * _quarter(fine, self.small) + coarse, (3, 3))
        weight = self.strength * np.clip(WEIGHTS[0] + contrast / CONTRAST_LEVELS, *WEIGHTS)
        # The interpolated pattern has a mean square of about 0.8; 1 leaves a margin for rounding.
        rms = float(np.sqrt(np.mean(weight * weight)))
        return (weight * min(1.0, self.limit / rms)).astype(np.float32, copy=False)


def _quarter(plane: NDArray[np.uint8], size: tuple[int, int]) -> FloatArray:
    """A plane at a quarter of the frame's size : float32 [h, w]."""
    if plane.shape[1] == 4 * size[0] and plane.shape[0] == 4 * size[1]:
        # Halved twice it takes a tenth of the time, and differs by rounding.
        plane = cv2.resize(plane, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_AREA)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def new_id() -> int:
    """A random id, 1 .. 2**64 - 1."""
    return secrets.randbits(64) or 1
