"""The warp renderer: mouth motion + the person's own frames -> mouth pixels at source resolution.

It composes three layers, from the outside in, all warped to the same target mesh:

1. *skin*: the frame itself, warped by the face mesh so that chin and cheeks follow the new mouth.
   Light, beard, pose and sharpness are the frame's own, and at the rim of the region the warp is
   the identity, so there is no seam to hide.
2. *lips*: a picture of the person (another of their frames) whose mouth is nearest in shape and
   pose. One shortest path over the whole sequence selects the pictures (Viterbi), in which a
   visible change has its price; it is a short cross-fade. Two of three frames of fast speech have
   one. The colour of the picture is fitted to the skin around it.
3. *mouth interior*: teeth and tongue from the same picture. They are not stretched with the lips:
   the upper part is anchored to the upper lip, the lower part to the lower lip, and the lips close
   over them. A person who never shows an interior gets a synthetic one.
"""

import functools

import cv2
import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.avatar.library import lip_features
from heygem.avatar.timeline import Timeline
from heygem.config.params import RendererSettings
from heygem.core.interpolation import mean_rate_hz
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import BoolArray, FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.face.pose import from_canonical, to_canonical
from heygem.face.topology import LOWER, LOWER_WEIGHT
from heygem.lips.motion import FrameMotion, Motion, require_drawable
from heygem.media.yuv import YuvImage
from heygem.rendering.base import Patch
from heygem.rendering.warp import kernels
from heygem.rendering.warp.blend import (
    fit_color_plane,
    light_interior,
    match_lip_tone,
    match_sharpness,
)
from heygem.rendering.warp.crossfade import (
    add_change,
    crossfade_sigma_px,
    fade_step,
    reduced_picture,
    reduced_points,
)
from heygem.rendering.warp.geometry import (
    FrameGeometry,
    Mouth,
    Texture,
    covering_triangles,
    warp_maps,
)
from heygem.rendering.warp.lip_seam import lower_lip_shift, without_line
from heygem.rendering.warp.mesh_warp import (
    MOVING,
    bounds,
    sample,
    sample_covered,
    with_rim,
)
from heygem.rendering.warp.mouth_axes import gap_px, width_px
from heygem.rendering.warp.mouth_interior import MouthInterior
from heygem.rendering.warp.synthetic_interior import synthetic_share
from heygem.rendering.warp.teeth_cache import cached_teeth
from heygem.rendering.warp.texture_selection import TextureSelector

FULL_STRENGTH = 0.5  # below, lips and interior fade to the frame's own
FADE_S = 0.12  # over which the mouth returns to the frame's own at frames left untouched
FLOAT_CROPS = 12  # pictures that are sampled at the same time, by all threads
PLAN_ROWS = 512  # frames planned at once: bounded memory, whatever the length

_ROW = {point: row for row, point in enumerate(LOWER)}
_UPPER_ROWS = np.array([_ROW[i] for i in topo.INNER_UPPER])
_LOWER_ROWS = np.array([_ROW[i] for i in topo.INNER_LOWER])


class WarpRenderer:
    """Draws one avatar's mouth from the avatar's own frames; a `heygem.rendering.base.Renderer`.

    Parameters
    ----------
    avatar : Avatar
    settings : RendererSettings
    reduces_faded : bool
        Whether textures that are only faded over are drawn in wider pixels, where the face is
        large enough: a fifth of the time less.
    """

    uses_motion = True
    reads_windows = True

    def __init__(
        self, avatar: Avatar, settings: RendererSettings, *, reduces_faded: bool = True
    ) -> None:
        self._avatar = avatar
        self._reduces_faded = reduces_faded
        self._settings = settings
        self._selector = TextureSelector(avatar.library, settings)
        self._interior = MouthInterior()
        self._teeth = cached_teeth(avatar)
        self._strength = replacement_strength(avatar)
        # Of pictures of the library, where they are drawn: half of them never are.
        self._library_mesh = functools.cache(self._with_rim)
        # A picture is drawn in several frames one after the other, and cross-faded with the next.
        self._crop = functools.lru_cache(FLOAT_CROPS)(self._reduced_crop)
        self._lip_shift = functools.cache(functools.partial(lower_lip_shift, avatar.library))
        self._order: IntArray = np.zeros(0, int)
        self._motion: FrameMotion = np.zeros((0, len(LOWER), 3), np.float32)
        self._textures: list[list[tuple[int, float]] | None] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the way this person is drawn."""
        if self._avatar.is_still:
            return ()
        if self._teeth is None:
            return ("upper teeth move with the upper lip: the video does not show where they are",)
        return (f"upper teeth are fixed to the skull: {self._teeth.registered} pictures show them",)

    def plan(self, motion: Motion | None, samples: FloatArray, timeline: Timeline) -> None:
        """Select the textures of a whole sequence; see `heygem.rendering.base.Renderer.plan`.

        `samples` is not used: the motion alone determines what is drawn.
        """
        if motion is None:
            raise ValueError("the warp renderer needs a motion to draw")
        avatar = self._avatar
        order = np.asarray(timeline.order)
        self._order = order
        self._motion = motion.for_frames(timeline.times_s)
        self._textures = [None] * len(order)
        rows = np.flatnonzero(avatar.usable[order])
        if not len(rows):
            return
        for k in range(0, len(rows), PLAN_ROWS):
            require_drawable(self._motion[rows[k : k + PLAN_ROWS]])
        features = [
            lip_features(self._drawn_shapes(rows[k : k + PLAN_ROWS]))
            for k in range(0, len(rows), PLAN_ROWS)
        ]
        shots = np.cumsum(avatar.track.cut, dtype=np.int64)
        selected = self._selector.choose(
            np.concatenate(features),
            avatar.pose.angles_deg[order[rows]],
            rows,
            avatar.track.cut[order],
            shots[order[rows]],
            shots,
        )
        for row, weights in zip(rows, selected, strict=True):
            self._textures[row] = weights
        self._plan_interior(rows)

    def _plan_interior(self, rows: IntArray) -> None:
        """Draw the synthetic interiors that the sequence needs, from its first textures that do.

        Done here, once, so that no frame depends on which other frames were rendered before it.
        """
        library = self._avatar.library
        self._interior.clear()
        for k in range(0, len(rows), PLAN_ROWS):
            part = rows[k : k + PLAN_ROWS]
            lips_px = self._target_lips(part)
            for row, points in zip(part, lips_px, strict=True):
                raise_if_cancelled()
                scale = float(self._avatar.pose.scale[self._order[row]])
                for pick, _ in self._textures[row] or ():
                    zoom = scale / float(library.pose.scale[pick])
                    mesh = library.points[pick][:, :2]
                    self._interior.prepare(library.crops[pick], mesh, *points, zoom=zoom)

    def _target_lips(self, rows: IntArray) -> FloatArray:
        """Middle of upper and lower lip and both corners, where they will be drawn.

        Returns
        -------
        float32 [n, 4, 2], pixels
        """
        frames = self._order[rows]
        pose = self._avatar.pose[frames]
        shape = resolve_lip_contact(self._avatar.rest.at(pose) + self._motion[rows])
        points = [*topo.LIP_MIDDLE, *topo.MOUTH_CORNERS]
        target = from_canonical(shape, pose)[:, [_ROW[i] for i in points], :2]
        own = self._avatar.track.points[frames][:, points, :2]
        return own + self._strength[frames, None, None] * (target - own)

    def render(self, image: Image | YuvImage, index: int) -> Patch | None:
        """Draw the mouth of one output frame; see `heygem.rendering.base.Renderer.render`."""
        geometry = self.geometry(index, image.shape)
        if geometry is None:
            return None
        mouth, strength = geometry.mouth, geometry.strength
        view = image[geometry.window]
        pixels = sample_covered(view, geometry.map_x, geometry.map_y, geometry.labels)
        skin = pixels[mouth.rows, mouth.columns]
        lips, interior = self._lips_and_interior(geometry, skin.copy())
        if strength < FULL_STRENGTH:
            share = strength / FULL_STRENGTH
            own_interior = skin.astype(np.float32)
            self._interior.fill(view, geometry.own, mouth.target, 1.0, own_interior)
            lips = skin + (lips - skin) * share
            interior = own_interior + (interior - own_interior) * share
        kernels.compose(skin, lips, mouth.alpha, interior, mouth.opening)
        return geometry.patch(pixels)

    def geometry(self, index: int, size: tuple[int, ...]) -> FrameGeometry | None:
        """Where an output frame of (height, width, ...) `size` is drawn; None where it is not."""
        textures = self._textures[index]
        frame = int(self._order[index])
        strength = float(self._strength[frame])
        if textures is None or strength <= 0:
            return None
        scale = float(self._avatar.pose.scale[frame])
        margin_px = self._settings.feather * scale
        own = with_rim(self._avatar.track.points[frame][:, :2], scale)
        target = own.copy()
        target[LOWER] += (
            LOWER_WEIGHT[:, None] * strength * (self._target_lower(index, frame) - own[LOWER])
        )
        x0, y0, x1, y1 = bounds(np.concatenate([own[MOVING], target[MOVING]]), 1, size)
        corner = np.array([x0, y0], np.float32)
        own, target = own - corner, target - corner
        labels, covered = covering_triangles(target, (y1 - y0, x1 - x0), margin_px)
        shares = [self._synthetic_share(pick, target, scale) for pick, _ in textures]
        own_share = sum(
            weight * (1 - share) for (_, weight), (share, _) in zip(textures, shares, strict=True)
        )
        mouth = Mouth.around(target, labels, scale, margin_px, corner, own_share)
        covered[mouth.rows, mouth.columns] |= mouth.opening > 0
        is_reduced = self._reduces_faded and len(textures) > 1 and mouth.is_wide
        step = fade_step(scale) if is_reduced else 1
        faded = mouth.reduced(step)
        return FrameGeometry(
            x0,
            y0,
            own,
            labels,
            *warp_maps(target, own, labels),
            covered,
            mouth,
            [
                self._texture(pick, weight, faded if k else mouth, frame, share)
                for k, ((pick, weight), share) in enumerate(zip(textures, shares, strict=True))
            ],
            faded,
            scale,
            strength,
        )

    def _synthetic_share(self, pick: int, target: FloatArray, scale: float) -> tuple[float, float]:
        """How much of the interior a library picture cannot show; see `synthetic_share`."""
        library = self._avatar.library
        mesh, zoom = library.points[pick][:, :2], scale / float(library.pose.scale[pick])
        return synthetic_share(mesh, gap_px(target), width_px(target), zoom)

    def _texture(
        self,
        pick: int,
        weight: float,
        mouth: Mouth,
        frame: int,
        share: tuple[float, float],
    ) -> Texture:
        """From where in a library picture, in pixels of the mouth's width, it is drawn."""
        library, pose, step = self._avatar.library, self._avatar.pose[frame : frame + 1], mouth.step
        scale, own_scale = float(pose.scale[0]), float(library.pose.scale[pick])
        own_mesh = self._library_mesh(pick)
        skull = None
        if self._teeth is not None:
            skull = self._teeth.map(pick, pose, mouth.corner * step).reduced(step)
        mesh, zoom = reduced_points(own_mesh, step), scale / own_scale
        crop = self._crop(pick, step)
        interior = self._interior.layers(
            crop, mesh, mouth.opening_pixels, zoom, share=share, skull=skull
        )
        needs_light = self._settings.color_match and bool(library.frames[pick] != frame)
        opened = gap_px(mouth.target) * step / scale - gap_px(own_mesh) / own_scale
        lip_mesh = without_line(own_mesh, self._lip_shift(pick), opened)
        maps = warp_maps(mouth.target, reduced_points(lip_mesh, step), mouth.labels, step)
        return Texture(pick, weight, *maps, interior, needs_light)

    def _with_rim(self, pick: int) -> FloatArray:
        """The mesh of a library picture with its rim : float32 [n, 2]."""
        library = self._avatar.library
        return with_rim(library.points[pick][:, :2], float(library.pose.scale[pick]))

    def _reduced_crop(self, pick: int, step: int) -> FloatArray:
        """A library picture in pixels `step` times as wide : float32 [h, w, 3]."""
        return reduced_picture(self._avatar.library.crops[pick].astype(np.float32), step)

    def _drawn_shapes(self, rows: IntArray) -> FloatArray:
        """Lower face as drawn, in the canonical frame : float32 [n, len(LOWER), 3]."""
        avatar, frames = self._avatar, self._order[rows]
        pose = avatar.pose[frames]
        shape = resolve_lip_contact(avatar.rest.at(pose) + self._motion[rows])
        partly = np.flatnonzero(self._strength[frames] < 1)
        if len(partly):
            own = to_canonical(avatar.track.points[frames[partly]][:, LOWER], pose[partly])
            share = self._strength[frames[partly], None, None]
            shape[partly] = own + share * (shape[partly] - own)
        return shape

    def _target_lower(self, index: int, frame: int) -> FloatArray:
        """Target lower face in the picture : float32 [len(LOWER), 2], pixels."""
        pose = self._avatar.pose[frame : frame + 1]
        motion = self._motion[index : index + 1]
        shape = resolve_lip_contact(self._avatar.rest.at(pose) + motion)
        return from_canonical(shape, pose)[0, :, :2]

    def _lips_and_interior(
        self, geometry: FrameGeometry, around: Image
    ) -> tuple[FloatArray, FloatArray]:
        """Lips and mouth interior from the library, warped to the mouth; float32 [h, w, 3] each.

        `around` uint8 [h, w, 3] is the frame itself, warped to the mouth.
        """
        first, *others = geometry.textures
        lips, interior, blur_px = self._draw_texture(first, geometry.mouth, around)
        if others:
            faded, weights = geometry.faded, [texture.weight for texture in others]
            around = reduced_picture(around, faded.step)
            drawn = [
                self._draw_texture(texture, faded, around, is_faded=True, blur_px=blur_px)
                for texture in others
            ]
            everywhere = tuple(slice(0, n) for n in faded.labels.shape)
            for canvas, part, layers in (
                (lips, everywhere, [each[0] for each in drawn]),
                (interior, faded.interior, [each[1][faded.interior] for each in drawn]),
            ):
                place = tuple(slice(s.start * faded.step, s.stop * faded.step) for s in part)
                add_change(canvas[place], layers, weights, crossfade_sigma_px(geometry.scale))
        return lips, interior

    def _draw_texture(
        self,
        texture: Texture,
        mouth: Mouth,
        around: Image,
        *,
        is_faded: bool = False,
        blur_px: float | None = None,
    ) -> tuple[FloatArray, FloatArray, float | None]:
        """Lips and interior of one library picture, in the light of the frame.

        Parameters
        ----------
        texture : Texture
        mouth : Mouth
            The one for which the texture is.
        around : uint8 [h, w, 3]
            The frame itself, warped to this mouth.
        is_faded : bool
            Only what a blur leaves of it will be seen.
        blur_px : float or None
            How much it is to be blurred, in pixels of the frame; None: as much as the frame is.

        Returns
        -------
        float32 [h, w, 3], float32 [h, w, 3], float or None
            Lips, interior, and `blur_px` where it was found out.
        """
        crop = self._crop(texture.pick, mouth.step)
        method = cv2.INTER_LINEAR if is_faded else cv2.INTER_CUBIC
        picture = sample(crop, texture.map_x, texture.map_y, method)
        interior = picture.copy()
        texture.interior.draw(crop, interior, method)
        if texture.needs_light:
            lips, blur_px = _match_light(picture, interior, around, mouth, blur_px)
            return lips, interior, blur_px
        return picture, interior, blur_px


def _match_light(
    picture: FloatArray,
    interior: FloatArray,
    around: Image,
    mouth: Mouth,
    blur_px: float | None,
) -> tuple[FloatArray, float]:
    """Bring lips and interior from another moment to the light and sharpness of the frame.

    Parameters
    ----------
    picture, around : float32 and uint8 [h, w, 3]
        The other moment, and the frame, both warped to the mouth.
    interior : float32 [h, w, 3]
        Changed in place.
    mouth : Mouth
    blur_px : float or None
        As of `_draw_texture`.

    Returns
    -------
    float32 [h, w, 3], float
        The lips, and how much they were blurred, in pixels of the frame.
    """
    coefficients = fit_color_plane(around, picture, mouth.ring)
    lips = np.empty(picture.shape, np.float32)
    kernels.add_plane(picture, coefficients, lips)
    if blur_px is None:
        lips, sigma_px = match_sharpness(lips, around, mouth.ring)
        blur_px = sigma_px * mouth.step
    elif blur_px > 0:
        lips = cv2.GaussianBlur(lips, (0, 0), blur_px / mouth.step)
    match_lip_tone(lips, around, mouth.opening, mouth.distance, mouth.margin_px)
    skin_level = None
    if mouth.ring.any():
        skin_level = np.array(cv2.mean(picture, mouth.ring.view(np.uint8))[:3], np.float32)
    light_interior(interior, coefficients, mouth.interior, skin_level)
    return lips, blur_px


def resolve_lip_contact(shape: FloatArray) -> FloatArray:
    """Move inner contours that have crossed to the middle between them, in equal parts.

    Parameters
    ----------
    shape : float32 [T, len(LOWER), 3], canonical

    Returns
    -------
    float32 [T, len(LOWER), 3]
    """
    shape = shape.copy()
    overlap = np.maximum(shape[:, _UPPER_ROWS, 1] - shape[:, _LOWER_ROWS, 1], 0) / 2
    inner = slice(1, 10)  # the corners are shared
    shape[:, _UPPER_ROWS[inner], 1] -= overlap[:, inner]
    shape[:, _LOWER_ROWS[inner], 1] += overlap[:, inner]
    return shape


def replacement_strength(avatar: Avatar) -> FloatArray:
    """How far each frame's mouth is replaced, 0..1 : float32 [T].

    0 at frames that cannot be used; it fades towards them over `FADE_S`, except across a cut,
    where a jump does not show.
    """
    usable = avatar.usable
    if usable.all() or len(usable) < 3:
        return usable.astype(np.float32)
    times_s = avatar.track.times_s
    rate = mean_rate_hz(times_s)
    fade = max(1, round(FADE_S * rate))  # frames
    cut = avatar.track.cut
    forward = _frames_since_unusable(usable, cut, fade)
    # Backwards in time, a cut before frame i separates it from i - 1.
    backward = _frames_since_unusable(usable[::-1], np.roll(cut, -1)[::-1], fade)[::-1]
    distance = np.minimum(forward, backward)
    return np.clip(distance / (fade + 1), 0, 1).astype(np.float32) * usable


def _frames_since_unusable(usable: BoolArray, cut: BoolArray, fade: int) -> FloatArray:
    """Frames since the last unusable one of the same shot, at most fade + 1 : float [T]."""
    distance = np.full(len(usable), fade + 1.0)
    count = fade + 1.0
    for i in range(len(usable)):
        if cut[i] and i > 0:
            count = fade + 1.0
        count = 0.0 if not usable[i] else count + 1
        distance[i] = min(distance[i], count)
    return distance
