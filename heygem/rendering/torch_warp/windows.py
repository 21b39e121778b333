"""Windows of different sizes in one tensor, their pixels one after the other, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heygem.core.interpolation import cubic_weights
from heygem.core.types import Image


def upload(arrays: Sequence[NDArray], device: torch.device) -> Tensor:
    """The values of arrays of one dtype, one array after the other, on the device.

    To a GPU they travel from pinned memory, while this thread goes on.
    """
    flat = np.concatenate([np.ravel(array) for array in arrays])
    tensor = torch.from_numpy(flat)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True)
class Windows:
    """Places of the pixels of several windows in a flat tensor.

    Attributes
    ----------
    sizes : sequence of (int, int)
        Height and width of each window.
    starts, heights, widths : int64 [n]
        Place of the first pixel of each window, and its size, on the device.
    window, y, x : int64 [P]
        Of each pixel, its window, and row and column there.
    """

    sizes: Sequence[tuple[int, int]]
    starts: Tensor
    heights: Tensor
    widths: Tensor
    window: Tensor
    y: Tensor
    x: Tensor

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int]], device: torch.device) -> "Windows":
        """Windows of these heights and widths."""
        shape = np.array(sizes, np.int64).reshape(-1, 2)
        counts = shape.prod(1)
        table = np.stack([np.cumsum(counts) - counts, *shape.T])
        starts, heights, widths = upload([table], device).view(3, -1)
        total = int(counts.sum())
        window = torch.repeat_interleave(
            torch.arange(len(shape), device=device),
            upload([counts], device),
            output_size=total,
        )
        local = torch.arange(total, device=device) - starts[window]
        y = torch.div(local, widths[window], rounding_mode="floor")
        return cls(sizes, starts, heights, widths, window, y, local - y * widths[window])

    def view(self, values: Tensor, k: int) -> Tensor:
        """Window `k` of values [P, ...] : [h, w, ...]."""
        start = sum(height * width for height, width in self.sizes[:k])
        height, width = self.sizes[k]
        return values[start : start + height * width].view(height, width, *values.shape[1:])

    def index(self, window: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Places of pixels, given by window, row and column, in the flat tensor : int64."""
        return self.starts[window] + y * self.widths[window] + x

    def part(self, corner: Tensor, inner: "Windows") -> Tensor:
        """Places of the pixels of smaller windows, one in each of these : int64 [P].

        Parameters
        ----------
        corner : int64 [n, 2]
            Row and column of the first pixel of each.
        inner : Windows
            The smaller ones.
        """
        top, left = corner.unbind(1)
        window = inner.window
        return self.index(window, top[window] + inner.y, left[window] + inner.x)


class Pictures:
    """RGB pictures of different sizes on a device.

    Parameters
    ----------
    images : sequence of uint8 [h, w, 3]
    device : torch.device
    """

    def __init__(self, images: Sequence[Image], device: torch.device) -> None:
        shape = np.array([image.shape[:2] for image in images], np.int64)
        counts = shape.prod(1)
        table = np.stack([np.cumsum(counts) - counts, *shape.T])
        self.pixels = upload(images, device).view(-1, 3)
        self._starts, self._heights, self._widths = upload([table], device).view(3, -1)

    def sample(
        self, picture: Tensor, x: Tensor, y: Tensor, is_linear: Tensor | None = None
    ) -> Tensor:
        """Sample as `heygem.rendering.warp.mesh_warp.sample` does.

        Parameters
        ----------
        picture : int64 [P]
            Which picture each pixel is taken from.
        x, y : float32 [P]
            Its place there; beyond the border the last pixels continue.
        is_linear : bool [P], optional
            Which pixels are sampled linearly; the others are bicubically.

        Returns
        -------
        float32 [P, 3]
            Whole levels, 0..255.
        """
        column, across = x.floor().long(), _weights(x - x.floor(), is_linear)
        row, down = y.floor().long(), _weights(y - y.floor(), is_linear)
        start, width = self._starts[picture], self._widths[picture]
        last_row, last_column = self._heights[picture] - 1, width - 1
        zero = torch.zeros_like(start)
        columns = [torch.clamp(column + k - 1, zero, last_column) for k in range(4)]
        total = torch.zeros((len(x), 3), device=x.device)
        for j in range(4):
            line = start + torch.clamp(row + j - 1, zero, last_row) * width
            values = torch.zeros_like(total)
            for k in range(4):
                pixels = self.pixels.index_select(0, line + columns[k])
                values.addcmul_(pixels.float(), across[k])
            total.addcmul_(values, down[j])
        return total.round_().clamp_(0, 255)


def _weights(t: Tensor, is_linear: Tensor | None) -> list[Tensor]:
    """Weights of the two pixels before and after places, t = 0..1 past a pixel : 4 x [P, 1]."""
    t = t[:, None]
    cubic = cubic_weights(t)
    if is_linear is None:
        return cubic
    none = torch.zeros_like(t)
    linear = [none, 1 - t, t, none]
    return [torch.where(is_linear[:, None], a, b) for a, b in zip(linear, cubic, strict=True)]
