"""Drawing of a batch of mouths on a device; of one mouth, `warp.renderer.WarpRenderer.render`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heygem.core.types import Image
from heygem.rendering.torch_warp import light
from heygem.rendering.torch_warp.light import FittedPixels
from heygem.rendering.torch_warp.windows import Pictures, Windows, upload
from heygem.rendering.warp.crossfade import crossfade_sigma_px
from heygem.rendering.warp.geometry import FrameGeometry, Texture
from heygem.rendering.warp.mouth_interior import Layer


@torch.inference_mode()
def draw(
    geometries: Sequence[FrameGeometry], views: Sequence[Image], library: Pictures
) -> list[Image]:
    """Draw the mouths of several frames.

    Parameters
    ----------
    geometries : sequence of FrameGeometry
        With a `strength` of at least 0.5.
    views : sequence of uint8 [h, w, 3], RGB
        The frames' windows.
    library : Pictures
        The person's mouth pictures, on the device that draws.

    Returns
    -------
    list of uint8 [h, w, 3]
        The windows with their mouths.
    """
    device = library.pixels.device
    windows = Windows.of([g.labels.shape for g in geometries], device)
    maps = (upload([getattr(g, name) for g in geometries], device) for name in ("map_x", "map_y"))
    pixels = Pictures(views, device).sample(windows.window, *maps)
    mouths = _Mouths.of(geometries, windows, device)
    skin = pixels[mouths.in_window]
    lips, interior = _lips_and_interior(geometries, mouths, skin[mouths.of_texture], library)
    # Of each frame the heaviest texture comes first, and has taken in the others.
    lips, interior = (values[mouths.heaviest] for values in (lips, interior))
    skin += (lips - skin) * mouths.alpha[:, None]
    skin += (interior - skin) * mouths.opening[:, None]
    pixels[mouths.in_window] = skin.round().clamp(0, 255)
    drawn = pixels.to(torch.uint8).cpu()
    return [windows.view(drawn, k).numpy() for k in range(len(geometries))]


@dataclass(frozen=True)
class _Mouths:
    """The parts of the windows in which lips and interior are drawn.

    Each frame has one, and each of its textures.

    Attributes
    ----------
    windows : Windows
        One for each frame.
    in_window : int64 [P]
        Place of each pixel in the frames' windows.
    alpha, opening : float32 [P]
    textures : Windows
        One for each texture, those of a frame one after the other.
    of_texture : int64 [Q]
        Place among the mouths' pixels, [P], of each pixel of the textures.
    heaviest : int64 [P]
        Place among the textures' pixels, [Q], of the heaviest texture's.
    """

    windows: Windows
    in_window: Tensor
    alpha: Tensor
    opening: Tensor
    textures: Windows
    of_texture: Tensor
    heaviest: Tensor

    @classmethod
    def of(
        cls, geometries: Sequence[FrameGeometry], frames: Windows, device: torch.device
    ) -> "_Mouths":
        """Those of frames with these windows."""
        mouths = [g.mouth for g in geometries]
        windows = Windows.of([m.labels.shape for m in mouths], device)
        corners = _corners([(m.rows, m.columns) for m in mouths], device)
        count = [len(g.textures) for g in geometries]
        frame = np.repeat(np.arange(len(mouths)), count)
        textures = Windows.of([mouths[k].labels.shape for k in frame], device)
        frame_of_texture = upload([frame], device)
        first_texture = upload([np.cumsum(count) - count], device)
        return cls(
            windows,
            frames.part(corners, windows),
            upload([m.alpha for m in mouths], device),
            upload([m.opening for m in mouths], device),
            textures,
            windows.index(frame_of_texture[textures.window], textures.y, textures.x),
            textures.index(first_texture[windows.window], windows.y, windows.x),
        )


def _corners(parts: Sequence[tuple[slice, slice]], device: torch.device) -> Tensor:
    """First row and column of parts of windows : int64 [n, 2]."""
    corners = [(rows.start, columns.start) for rows, columns in parts]
    return upload([np.array(corners, np.int64)], device).view(-1, 2)


def _lips_and_interior(
    geometries: Sequence[FrameGeometry], mouths: _Mouths, around: Tensor, library: Pictures
) -> tuple[Tensor, Tensor]:
    """Lips and interior of each texture in the light of its frame; float32 [Q, 3] each.

    Those of a frame's heaviest texture are mixed with its others. `around` float32 [Q, 3] is the
    frame itself.
    """
    device, windows = around.device, mouths.textures
    textures = [texture for g in geometries for texture in g.textures]
    frames = [g for g in geometries for _ in g.textures]
    picks = upload([np.array([texture.pick for texture in textures])], device)
    x, y = (upload([getattr(t, name) for t in textures], device) for name in ("map_x", "map_y"))
    # What is only faded over is sampled linearly.
    is_faded = upload(
        [np.array([k > 0 for g in geometries for k in range(len(g.textures))])], device
    )
    picture = library.sample(picks[windows.window], x, y, is_faded[windows.window])
    interior = _interiors(textures, picture, windows, library, picks, is_faded)

    parts = [g.mouth.interior for g in frames]
    sizes = [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in parts]
    inner = Windows.of(sizes, device)
    at = windows.part(_corners(parts, device), inner)
    lips, lit = _match_light(geometries, picture, interior[at], around, windows, at)
    needs_light = upload([np.array([t.needs_light for t in textures])], device)
    lips = torch.where(needs_light[windows.window][:, None], lips, picture)
    lit = torch.where(needs_light[inner.window][:, None], lit, interior[at])
    _crossfade(geometries, lips, windows)
    _crossfade(geometries, lit, inner)
    interior[at] = lit
    return lips, interior


def _interiors(
    textures: Sequence[Texture],
    picture: Tensor,
    windows: Windows,
    library: Pictures,
    picks: Tensor,
    is_faded: Tensor,
) -> Tensor:
    """The warped pictures, float32 [Q, 3], with their interiors; see `InteriorLayers.draw`."""
    device = picture.device
    interiors = [texture.interior for texture in textures]
    openings = Windows.of([layers.own[0].x.shape for layers in interiors], device)
    drawn = torch.zeros((len(openings.window), 3), device=device)
    _draw_over(drawn, [layers.own for layers in interiors], openings, picks, library, is_faded)
    for k, layers in enumerate(interiors):
        if layers.synthetic is not None:
            synthetic = upload([layers.synthetic.drawing], device).view(-1, 3)
            own = openings.view(drawn, k)
            alone = Windows.of([openings.sizes[k]], device)
            shown = [layers.synthetic.layers]
            one = slice(k, k + 1)
            _draw_over(synthetic, shown, alone, picks[one], library, is_faded[one])
            own += layers.synthetic.share * (synthetic.view_as(own) - own)
    corners = _corners([(layers.rows, layers.columns) for layers in interiors], device)
    out = picture.clone()
    out[windows.part(corners, openings)] = drawn
    return out


def _draw_over(
    below: Tensor,
    layers: Sequence[Sequence[Layer]],
    windows: Windows,
    picks: Tensor,
    library: Pictures,
    is_linear: Tensor,
) -> None:
    """Draw each window's layers, from below, over float32 [P, 3], in place.

    `picks` int64 [n] is the library's picture of each window, `is_linear` bool [n] how it is
    sampled.
    """
    device = below.device
    for depth in range(max(map(len, layers))):
        rows = [k for k, own in enumerate(layers) if len(own) > depth]
        some = [layers[k][depth] for k in rows]
        part = Windows.of([windows.sizes[k] for k in rows], device)
        x, y, opacity = (
            upload([getattr(layer, name) for layer in some], device)
            for name in ("x", "y", "opacity")
        )
        window = upload([np.array(rows)], device)[part.window]
        sampled = library.sample(picks[window], x, y, is_linear[window])
        places = windows.index(window, part.y, part.x)
        below[places] += (sampled - below[places]) * opacity[:, None]


def _match_light(
    geometries: Sequence[FrameGeometry],
    picture: Tensor,
    interior: Tensor,
    around: Tensor,
    windows: Windows,
    at: Tensor,
) -> tuple[Tensor, Tensor]:
    """Lips float32 [Q, 3] and interior, in the light of the frame; see `warp.renderer`.

    `interior` float32 [m, 3] are the pixels `at` int64 [m].
    """
    device, mouths = picture.device, [g.mouth for g in geometries for _ in g.textures]
    fitted = FittedPixels.of(mouths, windows, device)
    planes = light.fit_color_planes(around, picture, fitted.ring_sample, windows)
    lips = picture + light.plane_at(planes, windows)
    light.match_sharpness(lips, around, fitted.ring, windows, _blurred_like(geometries))
    light.match_lip_tone(
        lips,
        around,
        fitted.lip_sample,
        upload([mouth.distance for mouth in mouths], device),
        upload([np.array([mouth.margin_px for mouth in mouths], np.float32)], device),
        windows,
    )
    levels = light.skin_levels(picture, fitted.ring)[windows.window[at]]
    return lips, light.light_interior(interior, light.plane_at(planes, windows, at), levels)


def _blurred_like(geometries: Sequence[FrameGeometry]) -> list[int]:
    """For each texture the one as much as which it is blurred: the frame's heaviest, or itself."""
    like: list[int] = []
    for g in geometries:
        own = range(len(like), len(like) + len(g.textures))
        like.extend([own[0]] * len(own) if g.textures[0].needs_light else own)
    return like


def _crossfade(geometries: Sequence[FrameGeometry], values: Tensor, windows: Windows) -> None:
    """Mix each frame's textures into its heaviest one, in place; see `warp.renderer`.

    `values` float32 [Q, 3] holds one window for each texture.
    """
    first = 0
    for g in geometries:
        if len(g.textures) > 1:
            heaviest = windows.view(values, first)
            change = torch.zeros_like(heaviest)
            for k, texture in enumerate(g.textures[1:], first + 1):
                change += texture.weight * (windows.view(values, k) - heaviest)
            heaviest += light.gaussian_blur(change, crossfade_sigma_px(g.scale))
        first += len(g.textures)
