"""Watermark and visible label of many frames at once, as PyTorch operations.

What depends on the order of the frames is that of `WatermarkEmbedder.plan`, on the CPU. Here are
the operations on pixels alone, those of `WatermarkEmbedder.embed_planned` and
`VisibleLabel.draw_in_planes`, with their constants, for any device that PyTorch has. The planes
travel in one copy to the device, and luma and the label's chroma in one copy back.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from av.video.reformatter import Colorspace
from torch import Tensor
from torch.nn import functional

from heygem.core.device_batches import DeviceBatches
from heygem.core.interpolation import cubic_weights
from heygem.core.types import FloatArray
from heygem.media.colour import grey_factors
from heygem.media.yuv import YuvImage
from heygem.provenance.visible import VisibleLabel
from heygem.provenance.watermark.embed import CONTRAST_LEVELS, WEIGHTS, Chips, WatermarkEmbedder
from heygem.provenance.watermark.kernels import KERNEL, LATTICE
from heygem.provenance.watermark.pattern import GRID

_Taps: TypeAlias = tuple[Tensor, Tensor]  # places int64 [k, n], and weights float32 [k, n]


class TorchLabels:
    """Labels frames in the codec's planes, in batches; where memory runs out, on the CPU.

    Parameters
    ----------
    watermark : WatermarkEmbedder
    visible : VisibleLabel
    device : str
        A torch device.
    """

    def __init__(self, watermark: WatermarkEmbedder, visible: VisibleLabel, device: str) -> None:
        self._watermark, self._visible = watermark, visible
        self._device = torch.device(device)
        self._batches = DeviceBatches(self._device)
        self._pictures: _Pictures | None = None
        self._host = torch.empty(0, dtype=torch.uint8)  # frames on their way there and back

    @property
    def note(self) -> str | None:
        """What a report should say; None where the device's memory has sufficed."""
        return None if self._batches.note is None else f"labels: {self._batches.note}"

    def label(self, images: Sequence[YuvImage], times_s: Sequence[float]) -> None:
        """Label frames in place, which are of one size and matrix and follow each other in time."""
        planned = [self._watermark.plan(*each) for each in zip(images, times_s, strict=True)]

        def label_some(part: slice) -> None:
            self._label(images[part], times_s[part], planned[part])

        done = self._batches.run(len(images), len(images), label_some)
        for k in range(done, len(images)):
            self._watermark.embed_planned(images[k], planned[k])
            self._visible.draw_in_planes(images[k], times_s[k])

    @torch.inference_mode()
    def _label(
        self, images: Sequence[YuvImage], times_s: Sequence[float], planned: Sequence[Chips]
    ) -> None:
        """Nothing is written before all of it is computed."""
        shape, matrix = images[0].y.shape, images[0].matrix
        if self._pictures is None or self._pictures.kind != (shape, matrix):
            self._pictures = _Pictures(self._watermark, self._visible, shape, matrix, self._device)
        host = self._host_frames(len(images), images[0].nbytes)
        parts = [part.numpy() for part in _split(host, shape)]
        for k, image in enumerate(images):
            for part, plane in zip(parts, (image.y, image.u, image.v), strict=True):
                part[k] = plane
        shown = sum(map(self._visible.is_shown, times_s))  # the first ones: it only ends
        y, *chroma = self._pictures.label(host.to(self._device, non_blocking=True), planned, shown)
        finished = torch.cat([part.flatten(1) for part in (y, *chroma)], 1)
        rows = host.view(-1)[: finished.numel()].view(finished.shape)
        rows.copy_(finished)  # this thread goes on when it is there
        windows = self._pictures.chroma_windows
        for k, (row, image) in enumerate(zip(rows.numpy(), images, strict=True)):
            image.y[:] = row[: image.y.size].reshape(shape)
            if k >= shown:
                continue
            at = image.y.size
            for plane, window in zip((image.u, image.v), windows, strict=True):
                box = plane[window]
                box[:] = row[at : at + box.size].reshape(box.shape)
                at += box.size

    def _host_frames(self, count: int, size: int) -> Tensor:
        """Memory of so many frames : uint8 [count, size]; pinned for a GPU, from which it reads."""
        if self._host.numel() < count * size:
            pinned = self._device.type == "cuda"
            self._host = torch.empty(count * size, dtype=torch.uint8, pin_memory=pinned)
        return self._host[: count * size].view(count, size)


class _Box(NamedTuple):
    """Of the visible label in one plane; see `VisibleLabel.in_planes`."""

    window: tuple[slice, slice]
    weight: Tensor
    weighted: Tensor

    def blended(self, plane: Tensor) -> Tensor:
        """The window of planes uint8 [N, H, W] with the label."""
        part = plane[(slice(None), *self.window)].float()
        return part.mul_(self.weight).add_(self.weighted).to(torch.uint8)


class _Pictures:
    """All on a device that frames of one size and matrix have in common.

    Attributes
    ----------
    kind : ((int, int), Colorspace)
        Rows and columns of luma, and the matrix.
    chroma_windows : list of (slice, slice)
        Of the visible label, in Cb and Cr; empty where there is none.
    """

    def __init__(
        self,
        watermark: WatermarkEmbedder,
        visible: VisibleLabel,
        shape: tuple[int, int],
        matrix: Colorspace,
        device: torch.device,
    ) -> None:
        self.kind, self._shape, self._device = (shape, matrix), shape, device
        self._mark = watermark
        self._grey_factors = [float(factor) for factor in grey_factors(matrix)]
        self._drawn: tuple[FloatArray, Tensor] | None = None  # a period's chips, and their pattern
        self._to_small: dict[tuple[int, int], list[_Taps]] = {}
        self._boxes: list[_Box] = []
        if visible.box is not None:
            for window, weight, weighted in visible.in_planes(matrix, shape):
                tensors = (torch.from_numpy(each).to(device) for each in (weight, weighted))
                self._boxes.append(_Box(window, *tensors))
        self.chroma_windows = [box.window for box in self._boxes[1:]]

    def label(self, frames: Tensor, planned: Sequence[Chips], shown: int) -> list[Tensor]:
        """Labelled luma, and the windows of Cb and Cr where any of the frames shows the label.

        Parameters
        ----------
        frames : uint8 [N, bytes]
            Y, Cb and Cr, one after the other.
        planned : sequence of Chips
        shown : int
            How many frames, from the first one, carry the visible label.

        Returns
        -------
        list of uint8 [N, h, w]
        """
        y, cb, cr = _split(frames, self._shape)
        level = self._level(y, self._grey(y, cb, cr))
        first = 0
        marked = torch.empty_like(y)
        for _, group in groupby(planned, key=lambda chips: id(chips.values)):
            chips = list(group)
            part = slice(first, first + len(chips))
            signs = torch.tensor([each.sign for each in chips], device=self._device)
            pattern = self._pattern(chips[0].values)
            marked[part] = self._added(y[part], level[part].mul_(signs[:, None, None]), pattern)
            first = part.stop
        if not shown or not self._boxes:
            return [marked]
        luma, *chroma = self._boxes
        marked[(slice(shown), *luma.window)] = luma.blended(marked[:shown])
        return [marked, *(box.blended(plane) for box, plane in zip(chroma, (cb, cr), strict=True))]

    def _grey(self, y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
        """As `WatermarkEmbedder._grey`, of N frames : float32 [N, h, w]."""
        quarters = (self._quarter(plane) for plane in (y, cb, cr))
        parts = zip(quarters, (16, 128, 128), self._grey_factors, strict=True)
        terms = [(quarter - zero) * factor for quarter, zero, factor in parts]
        return torch.stack(terms).sum(0).clamp_(0, 255)

    def _level(self, y: Tensor, mean: Tensor) -> Tensor:
        """As `WatermarkEmbedder._weight`, then made as large as the frames : float32 [N, H, W]."""
        fine = _box_sums(y.float(), KERNEL).mul_(1 / KERNEL**2).add_(0.5).floor_()
        fine = fine.sub_(y).abs_().to(torch.uint8)
        coarse = (mean - _box_sums(mean, 3) / 9).abs_()
        contrast = _box_sums(self._quarter(fine) * self._grey_factors[0] + coarse, 3) / 9
        weight = (contrast / CONTRAST_LEVELS + WEIGHTS[0]).clamp_(*WEIGHTS) * self._mark.strength
        rms = weight.square().mean((1, 2), keepdim=True).sqrt_()
        weight *= (self._mark.limit / rms).clamp_(max=1)
        return _resample(weight, *self._enlarging)

    def _pattern(self, values: FloatArray) -> Tensor:
        """As `WatermarkEmbedder._pattern_of`, once a period : float32 [H, W]."""
        if self._drawn is None or self._drawn[0] is not values:
            chips = torch.from_numpy(values).to(self._device)
            self._drawn = values, _resample(chips[None], *self._drawing)[0]
        return self._drawn[1]

    def _added(self, luma: Tensor, level: Tensor, pattern: Tensor) -> Tensor:
        """As `watermark.kernels.add_pattern`; `level`, which has the sign, is used up."""
        steps = level.mul_(pattern).round_().mul_(1 / self._grey_factors[0])
        return steps.add_(self._lattice).floor_().add_(luma).clamp_(0, 255).to(torch.uint8)

    @cached_property
    def _lattice(self) -> Tensor:
        """What each pixel of `add_pattern` is rounded up from : float32 [H, W]."""
        height, width = self._shape
        across, down = (np.arange(width) + 1) * LATTICE[0], np.arange(height) * LATTICE[1]
        across, down = ((each - np.floor(each)).astype(np.float32) for each in (across, down))
        places = across + down[:, None]
        return torch.from_numpy(places - np.floor(places)).to(self._device)

    @cached_property
    def _enlarging(self) -> list[_Taps]:
        """From the size at which contrast is measured."""
        sizes = zip(self._mark.small[::-1], self._shape, strict=True)
        return [self._taps(*_linear(small, whole)) for small, whole in sizes]

    @cached_property
    def _drawing(self) -> list[_Taps]:
        """From chips to pixels."""
        return [self._taps(*_cubic(GRID, whole)) for whole in self._shape]

    def _shrinking(self, shape: tuple[int, int]) -> list[_Taps]:
        """To the size at which contrast is measured, from a plane's."""
        if shape not in self._to_small:
            sizes = zip(shape, self._mark.small[::-1], strict=True)
            self._to_small[shape] = [self._taps(*_area(whole, small)) for whole, small in sizes]
        return self._to_small[shape]

    def _quarter(self, plane: Tensor) -> Tensor:
        """As `embed._quarter`, of planes uint8 [N, H, W] : float32 [N, h, w], whole levels."""
        width, height = self._mark.small
        ratio = plane.shape[1] / height, plane.shape[2] / width
        if ratio == (4, 4):
            return _halved(_halved(plane)).float()
        if ratio == (2, 2):
            return _halved(plane).float()
        shrinking = self._shrinking((plane.shape[1], plane.shape[2]))
        return _resample(plane.float(), *shrinking).round_()

    def _taps(self, places: FloatArray, weights: FloatArray) -> _Taps:
        values = torch.from_numpy(weights.astype(np.float32)).to(self._device)
        return torch.from_numpy(places.astype(np.int64)).to(self._device), values


def _split(frames: Tensor, shape: tuple[int, int]) -> list[Tensor]:
    """Views [..., h, w] of Y, Cb and Cr, which lie one after the other in the last dimension."""
    height, width = shape
    luma, chroma = height * width, height * width // 4
    return [
        frames[..., :luma].reshape(*frames.shape[:-1], height, width),
        *(
            frames[..., at : at + chroma].reshape(*frames.shape[:-1], height // 2, width // 2)
            for at in (luma, luma + chroma)
        ),
    ]


def _box_sums(values: Tensor, side: int) -> Tensor:
    """Sums of side x side values around each one, the border mirrored, as in OpenCV : [N, H, W]."""
    padded = functional.pad(values, [side // 2] * 4, mode="reflect")
    across = functional.avg_pool2d(padded[:, None], (1, side), 1, divisor_override=1)
    return functional.avg_pool2d(across, (side, 1), 1, divisor_override=1)[:, 0]


def _halved(plane: Tensor) -> Tensor:
    """Means of 2x2 whole levels, rounded as OpenCV does : int16."""
    rows = plane[:, ::2].short() + plane[:, 1::2]
    return (rows[..., ::2] + rows[..., 1::2] + 2) >> 2


def _resample(values: Tensor, down: _Taps, across: _Taps) -> Tensor:
    """`cv2.resize` of float32 [N, h, w], by the places and weights along each axis."""
    for axis, (places, weights) in ((2, across), (1, down)):
        shape = (-1, 1) if axis == 1 else (-1,)
        total = values.index_select(axis, places[0]).mul_(weights[0].view(shape))
        for place, weight in zip(places[1:], weights[1:], strict=True):
            total.addcmul_(values.index_select(axis, place), weight.view(shape))
        values = total
    return values


def _area(size: int, small: int) -> tuple[FloatArray, FloatArray]:
    """Places and weights of OpenCV's INTER_AREA along an axis, [k, small] each."""
    scale = size / small
    begins = np.arange(small) * scale
    places = np.floor(begins) + np.arange(int(np.ceil(scale)) + 1)[:, None]
    covered = np.minimum(places + 1, begins + scale) - np.maximum(places, begins)
    weights = np.maximum(covered, 0) / scale
    return np.minimum(places, size - 1), weights


def _linear(small: int, size: int) -> tuple[FloatArray, FloatArray]:
    """Places and weights of OpenCV's INTER_LINEAR along an axis that grows, [2, size] each."""
    at = (np.arange(size) + 0.5) * small / size - 0.5
    first = np.floor(at)
    places = np.stack([first, first + 1])
    return np.clip(places, 0, small - 1), np.stack([1 - (at - first), at - first])


def _cubic(small: int, size: int) -> tuple[FloatArray, FloatArray]:
    """Places and weights of OpenCV's INTER_CUBIC along an axis, [4, size] each."""
    at = (np.arange(size) + 0.5) * small / size - 0.5
    first = np.floor(at)
    places = first + np.arange(-1, 3)[:, None]
    return np.clip(places, 0, small - 1), np.stack(cubic_weights(at - first))
