"""Colour, sharpness and light of another moment's mouth, fitted as in `warp.blend`.

The pixels of all mouths lie one after the other (`windows.Windows`); on which of them the fits are
made is known beforehand (`FittedPixels`), so that nothing waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heygem.rendering.torch_warp.windows import Windows, upload
from heygem.rendering.warp.blend import (
    BLUR_BELOW,
    BLUR_SIGMAS_PX,
    FITTED_PIXELS,
    LIP_EDGE,
    LIP_SLOPE_DAMPING,
    LIP_TONE_SHARE,
    MAX_LIP_TONE,
    MAX_TINT,
    MIN_DETAIL_PIXELS,
    MIN_FITTED_PIXELS,
    MIN_SKIN_LEVEL,
    SLOPE_DAMPING,
    USUAL_TINT,
)
from heygem.rendering.warp.geometry import Mouth
from heygem.rendering.warp.kernels import LIGHT_LEVEL, LIGHT_RANGE, MAX_DIFFERENCE


@dataclass(frozen=True)
class Rows:
    """Places of some pixels of each of n windows, as rows that are filled up at their ends.

    Attributes
    ----------
    index : int64 [n, m]
    valid : bool [n, m]
    """

    index: Tensor
    valid: Tensor

    @classmethod
    def of(cls, places: Sequence[NDArray], windows: Windows, device: torch.device) -> "Rows":
        """Rows of places within each window, int [m_i]."""
        table = np.full((len(places), max([1, *map(len, places)])), -1, np.int32)
        for row, some in zip(table, places, strict=True):
            row[: len(some)] = some
        local = upload([table], device).view(table.shape).long()
        valid = local >= 0
        return cls(torch.where(valid, local, 0) + windows.starts[:, None], valid)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values, float32 [n, m, ...], of each row : float64 [n, ...]."""
        valid = self.valid.view(*self.valid.shape, *[1] * (values.ndim - 2))
        total = torch.where(valid, values, 0).double().sum(1)
        return total / self.valid.sum(1).clamp(min=1).view(-1, *[1] * (values.ndim - 2))


@dataclass(frozen=True)
class FittedPixels:
    """The pixels of mouths on which light and colour are fitted.

    Attributes
    ----------
    ring : Rows
        Skin around the lips.
    ring_sample, lip_sample : Rows
        Some of it, and of the lips.
    """

    ring: Rows
    ring_sample: Rows
    lip_sample: Rows

    @classmethod
    def of(cls, mouths: Sequence[Mouth], windows: Windows, device: torch.device) -> "FittedPixels":
        """Those of each mouth, whose window is the one of the same number."""
        ring = [np.flatnonzero(mouth.ring) for mouth in mouths]
        lips = [np.flatnonzero((m.distance <= 0) & (m.opening == 0)) for m in mouths]
        some = [[_spread(places) for places in group] for group in (ring, lips)]
        return cls(*(Rows.of(group, windows, device) for group in (ring, *some)))


def _spread(places: NDArray) -> NDArray:
    """Every n-th of the places, at least `FITTED_PIXELS`; none where there are too few to fit."""
    if len(places) < MIN_FITTED_PIXELS:
        return places[:0]
    return places[:: max(1, len(places) // FITTED_PIXELS)]


def fit_color_planes(own: Tensor, other: Tensor, at: Rows, windows: Windows) -> Tensor:
    """See `blend.fit_color_plane`; of each window, float32 [n, 3, 3].

    `own` and `other` are float32 [P, 3].
    """
    difference = (own[at.index] - other[at.index]).clamp(-MAX_DIFFERENCE, MAX_DIFFERENCE)
    y, x = windows.y[at.index].double(), windows.x[at.index].double()
    basis = torch.stack(
        [
            torch.ones_like(y),
            x / windows.widths[:, None] - 0.5,
            y / windows.heights[:, None] - 0.5,
        ],
        -1,
    )
    basis = torch.where(at.valid[..., None], basis, 0)
    gram = basis.transpose(1, 2) @ basis
    count = gram[:, 0, 0]
    damping = torch.diag(torch.tensor([0.0, SLOPE_DAMPING, SLOPE_DAMPING], device=own.device))
    gram = gram + damping * count[:, None, None]
    # Without pixels the products are 0, and so is the plane, whatever the matrix is.
    gram = gram + torch.eye(3, device=own.device) * (count == 0)[:, None, None]
    return torch.linalg.solve(gram, basis.transpose(1, 2) @ difference.double()).float()


def plane_at(coefficients: Tensor, windows: Windows, at: Tensor | None = None) -> Tensor:
    """Values of each window's plane at its pixels, or at those `at` int64 [m] : float32 [P, 3]."""
    window, y, x = windows.window, windows.y, windows.x
    if at is not None:
        window, y, x = window[at], y[at], x[at]
    gx = x.float() / windows.widths[window].float() - 0.5
    gy = y.float() / windows.heights[window].float() - 0.5
    constant, slope_x, slope_y = coefficients[window].unbind(1)
    return constant + gx[:, None] * slope_x + gy[:, None] * slope_y


def detail(picture: Tensor, at: Rows, windows: Windows) -> Tensor:
    """See `kernels.detail`; plus one, of each window : float64 [n]."""
    green = picture[:, 1]
    y, x = windows.y[at.index], windows.x[at.index]
    window = windows.window[at.index]
    last_row, last_column = windows.heights[:, None] - 1, windows.widths[:, None] - 1
    around = [
        (_mirrored(y - 1, last_row), x),
        (_mirrored(y + 1, last_row), x),
        (y, _mirrored(x - 1, last_column)),
        (y, _mirrored(x + 1, last_column)),
    ]
    laplacian = sum(green[windows.index(window, *place)] for place in around)
    return at.mean((laplacian - 4 * green[at.index]).abs()) + 1.0


def _mirrored(place: Tensor, last: Tensor) -> Tensor:
    """Places one beyond the border, mirrored into a window."""
    place = place.abs()
    return torch.where(place > last, 2 * last - place, place)


def match_sharpness(
    lips: Tensor, own: Tensor, ring: Rows, windows: Windows, like: Sequence[int]
) -> None:
    """See `blend.match_sharpness`; in place on `lips`, float32 [P, 3], like `own`.

    `like` names for each window the one, before it or itself, as much as which it is blurred.
    """
    target, sharpness = detail(own, ring, windows), detail(lips, ring, windows)
    enough = ring.valid.sum(1) >= MIN_DETAIL_PIXELS
    too_sharp = (enough & (target <= BLUR_BELOW * sharpness)).tolist()
    sigmas_px: dict[int, float] = {}  # of the windows that are blurred
    for k, first in enumerate(like):
        one = windows.view(lips, k)
        if first != k:
            if first in sigmas_px:
                one.copy_(gaussian_blur(one, sigmas_px[first]))
        elif too_sharp[k]:
            alone = Windows.of([windows.sizes[k]], lips.device)
            inside = Rows(ring.index[k : k + 1] - windows.starts[k], ring.valid[k : k + 1])
            for sigma_px in BLUR_SIGMAS_PX:
                soft = gaussian_blur(one, sigma_px)
                if bool(detail(soft.reshape(-1, 3), inside, alone)[0] <= target[k]):
                    break
            one.copy_(soft)
            sigmas_px[k] = sigma_px


def gaussian_blur(picture: Tensor, sigma_px: float) -> Tensor:
    """As `cv2.GaussianBlur(picture, (0, 0), sigma_px)` of float32 [h, w, 3]."""
    length = round(8 * sigma_px + 1) | 1
    weights = torch.from_numpy(cv2.getGaussianKernel(length, sigma_px, cv2.CV_32F)).flatten()
    for axis in (0, 1):
        last = picture.shape[axis] - 1
        places = torch.arange(-(length // 2), last + length // 2 + 1).abs()
        if last:
            places = places % (2 * last)
        places = torch.where(places > last, 2 * last - places, places).clamp(0, last)
        wide = picture.index_select(axis, places.to(picture.device))
        out = torch.zeros_like(picture)
        for k, weight in enumerate(weights.tolist()):
            out.add_(wide.narrow(axis, k, last + 1), alpha=weight)
        picture = out
    return picture


def match_lip_tone(
    lips: Tensor, own: Tensor, at: Rows, distance: Tensor, margin_px: Tensor, windows: Windows
) -> None:
    """See `blend.match_lip_tone`; in place on `lips`, float32 [P, 3], like `own`.

    `distance` is float32 [P], `margin_px` float32 [n].
    """
    difference = own[at.index] - lips[at.index]
    usual = _median(difference, at.valid)
    rest = (difference - usual[:, None]).clamp(-MAX_LIP_TONE, MAX_LIP_TONE)
    x = windows.x[at.index].float() / windows.widths[:, None] - 0.5
    y = windows.y[at.index].float() / windows.heights[:, None] - 0.5
    places = torch.stack([x, y], -1).double()
    middle = at.mean(places)
    centred = torch.where(at.valid[..., None], places - middle[:, None], 0)
    count = at.valid.sum(1).clamp(min=1)[:, None, None]
    damping = LIP_SLOPE_DAMPING * count * torch.eye(2, device=lips.device)
    gram = centred.transpose(1, 2) @ centred + damping
    slopes = torch.linalg.solve(gram, centred.transpose(1, 2) @ rest.double())  # [n, 2, 3]
    usual = usual.clamp(-MAX_LIP_TONE, MAX_LIP_TONE) * at.valid[:, :1]
    constant = usual - (middle[:, :, None] * slopes).sum(1)
    plane = torch.cat([constant[:, None], slopes], 1).float()
    tone = plane_at(plane, windows).clamp(-MAX_LIP_TONE, MAX_LIP_TONE)
    reach = (LIP_EDGE * margin_px).clamp(min=1.0)[windows.window]
    inside = (0.5 - distance / (2 * reach)).clamp(0, 1)
    soft = LIP_TONE_SHARE * inside * inside * (3 - 2 * inside)
    lips += tone * soft[:, None]


def _median(values: Tensor, valid: Tensor) -> Tensor:
    """Median over the valid ones of values float32 [n, m, 3] : float32 [n, 3]; 0 without any."""
    ordered = torch.where(valid[..., None], values, torch.inf).sort(1).values
    count = valid.sum(1)
    middle = torch.stack([(count - 1).clamp(min=0) // 2, count // 2], 1)
    middle = torch.minimum(middle, (count - 1).clamp(min=0)[:, None])
    pair = ordered.gather(1, middle[..., None].expand(-1, -1, 3))
    return torch.where(count[:, None] > 0, pair.mean(1), 0)


def light_interior(interior: Tensor, plane: Tensor, skin_level: Tensor) -> Tensor:
    """See `blend.light_interior`; all are float32 [P, 3].

    `plane` is the correction of the skin at each pixel, `skin_level` the skin's mean colour,
    infinite where only brightness is corrected.
    """
    light = plane.mean(1, keepdim=True)
    gain = (1 + light / LIGHT_LEVEL).clamp(*LIGHT_RANGE)
    tint = (plane - light) / skin_level
    size = (tint.abs() - USUAL_TINT).clamp(0, MAX_TINT)
    return interior * gain * (1 + torch.sign(tint) * size)


def skin_levels(picture: Tensor, ring: Rows) -> Tensor:
    """Mean colour of the ring of each window, at least `MIN_SKIN_LEVEL`; infinite without one."""
    level = ring.mean(picture[ring.index]).float().clamp(min=MIN_SKIN_LEVEL)
    return torch.where(ring.valid[:, :1], level, torch.inf)
