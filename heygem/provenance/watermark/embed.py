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
from typing import Any

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
_WEIGHTS = 0.6, 2.4  # of the strength, in flat and in rich places


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
        self._strength = STRENGTH[density] if strength is None else strength
        # The error limit holds for the whole frame: used patches may exceed it accordingly.
        self._limit = 255 * 10 ** (-MIN_PSNR_DB / 20) / np.sqrt(density)
        self._period: int | None = None  # whose pattern is in the buffer
        self._cells: FloatArray | None = None
        self._pattern = np.empty((height, width), np.float32)
        self._blocks: BoolArray | None = None  # of the pattern that change a frame in planes
        self._steps: NDArray[np.int16] | None = None  # of RGB frames
        self._fine: NDArray[np.uint8] | None = None  # of frames in planes
        self._small = (max(width // 4, 1), max(height // 4, 1))

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
        mean = cv2.resize(grey, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        sign = self._set_period(mean, time_s)
        # The same step in all three channels: colour is unchanged. The buffers are reused, since
        # allocating memory of this size takes longer than the arithmetic.
        if self._steps is None:
            self._steps = np.empty(image.shape, np.int16)
        fine = np.asarray(cv2.absdiff(grey, cv2.blur(grey, (7, 7))), np.uint8)
        level = cv2.resize(self._weight(fine, mean), image.shape[1::-1])
        step = cv2.multiply(level, self._pattern, scale=sign, dtype=cv2.CV_16S)
        cv2.merge([step] * 3, dst=self._steps)
        return cv2.add(image, self._steps, dtype=cv2.CV_8U).astype(np.uint8, copy=False)

    def embed_in_planes(self, image: YuvImage, time_s: float) -> None:
        """As `embed`, into the luma of a frame in the codec's planes, in place.

        A step in all channels of RGB is a step in luma alone.
        """
        from heygem.provenance.watermark import kernels

        luma, cb, cr = grey_factors(image.matrix)
        planes = (_quarter(plane, self._small) for plane in (image.y, image.u, image.v))
        mean = kernels.grey(*planes, luma, cb, cr)
        sign = self._set_period(mean, time_s)
        if self._fine is None:
            self._fine = np.empty(image.y.shape, np.uint8)
        kernels.fine_contrast(image.y, self._fine)
        weight = self._weight(self._fine, mean, levels=float(luma))
        # Across only: the loop over the pixels interpolates down the columns.
        level = cv2.resize(weight, (image.y.shape[1], weight.shape[0]))
        kernels.add_pattern(
            image.y, level, self._pattern, self._changed_blocks(), np.float32(sign), 1 / luma
        )

    def _set_period(self, mean: FloatArray, time_s: float) -> float:
        """Have the pattern of a frame's period in the buffer; returns its sign in the frame."""
        period, is_inverted = period_at(time_s)
        if period != self._period:
            self._set_pattern(mean)
            self._period = period
        return -1.0 if is_inverted else 1.0

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
            self._draw_pattern()

    def _set_pattern(self, mean: FloatArray) -> None:
        """Make the pattern of the period that begins with a frame, given at a quarter size."""
        cells = cv2.resize(mean, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        self._cells = update_average(self._cells, cells)
        self._draw_pattern()

    def _draw_pattern(self) -> None:
        assert self._cells is not None
        signs = self._signs * content_values(self._secret, self._cells)
        size = self._pattern.shape[::-1]
        cv2.resize(signs, size, dst=self._pattern, interpolation=cv2.INTER_CUBIC)
        self._blocks = None

    def _changed_blocks(self) -> BoolArray:
        """Blocks of the pattern with a value that can reach half a grey level."""
        from heygem.provenance.watermark import kernels

        if self._blocks is None:
            height, width = self._pattern.shape
            columns, rows = kernels.BLOCK
            self._blocks = np.empty((-(-height // rows), -(-width // columns)), bool)
            least = np.float32(0.5 / (_WEIGHTS[1] * self._strength))
            kernels.find_blocks(self._pattern, least, self._blocks)
        return self._blocks

    def _weight(self, fine: NDArray[np.uint8], mean: FloatArray, levels: float = 1.0) -> FloatArray:
        """Local strength in grey levels, at a quarter of the size.

        `fine` uint8 [H, W] is the distance from the local mean, in units of `levels` grey levels;
        `mean` the grey at a quarter.
        """
        coarse = np.abs(mean - cv2.blur(mean, (3, 3)))
        contrast = cv2.blur(levels * _quarter(fine, self._small) + coarse, (3, 3))
        weight = self._strength * np.clip(_WEIGHTS[0] + contrast / 5, *_WEIGHTS)
        # The interpolated pattern has a mean square of about 0.8; 1 leaves a margin for rounding.
        rms = float(np.sqrt(np.mean(weight * weight)))
        return (weight * min(1.0, self._limit / rms)).astype(np.float32, copy=False)


def _quarter(plane: NDArray[np.uint8], size: tuple[int, int]) -> FloatArray:
    """A plane at a quarter of the frame's size : float32 [h, w]."""
    if plane.shape[1] == 4 * size[0] and plane.shape[0] == 4 * size[1]:
        # Halved twice it takes a tenth of the time, and differs by rounding.
        plane = cv2.resize(plane, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_AREA)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def new_id() -> int:
    """A random id, 1 .. 2**64 - 1."""
    return secrets.randbits(64) or 1
