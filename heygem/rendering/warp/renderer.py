"""The warp renderer: mouth motion + the person's own frames -> mouth pixels at source resolution.

It composes three layers, from the outside in, all warped to the same target mesh:

1. *skin*: the frame itself, warped by the face mesh so that chin and cheeks follow the new mouth.
   Light, beard, pose and sharpness are the frame's own, and at the rim of the region the warp is
   the identity, so there is no seam to hide.
2. *lips*: a picture of the person (another of their frames) whose mouth is nearest in shape and
   pose. One shortest path over the whole sequence selects the pictures (Viterbi), so the texture
   changes rarely, and then by a short cross-fade. Its colour is fitted to the skin around it.
3. *mouth interior*: teeth and tongue from the same picture. They are not stretched with the lips:
   the upper part is anchored to the upper lip, the lower part to the lower lip, and the lips close
   over them. A person who never shows an interior gets a synthetic one.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.avatar.library import lip_features
from heygem.avatar.timeline import Timeline
from heygem.config.params import RendererSettings
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
    interior_mask,
    light_interior,
    lip_distance,
    lip_mask,
    match_lip_tone,
    match_sharpness,
    skin_ring,
)
from heygem.rendering.warp.mesh_warp import (
    TRIANGLES,
    Sampler,
    backward_map,
    bounds,
    rasterize,
    sample_covered,
    with_rim,
)
from heygem.rendering.warp.mouth_interior import MouthInterior
from heygem.rendering.warp.teeth_check import anchor_teeth
from heygem.rendering.warp.texture_selection import TextureSelector

DETAIL_IOD = 0.02  # structure finer than this is never averaged over two pictures
FADE_S = 0.12  # over which the mouth returns to the frame's own at frames left untouched
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
    device : str
        "cpu" or a torch device.
    """

    uses_motion = True
    reads_windows = True

    def __init__(self, avatar: Avatar, settings: RendererSettings, device: str = "cpu") -> None:
        self._avatar = avatar
        self._settings = settings
        self._sample = Sampler(device)
        self._selector = TextureSelector(avatar.library, settings)
        self._interior = MouthInterior(self._sample)
        self._teeth = anchor_teeth(avatar.library, avatar.rest, self._sample)
        self._strength = replacement_strength(avatar)
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
        textures = self._textures[index]
        frame = int(self._order[index])
        strength = self._strength[frame]
        if textures is None or strength <= 0:
            return None
        scale = float(self._avatar.pose.scale[frame])
        margin_px = self._settings.feather * scale
        own = with_rim(self._avatar.track.points[frame][:, :2], scale)
        target = own.copy()
        target[LOWER] += (
            LOWER_WEIGHT[:, None] * strength * (self._target_lower(index, frame) - own[LOWER])
        )
        x0, y0, x1, y1 = bounds(np.concatenate([own[TRIANGLES], target[TRIANGLES]]), 1, image.shape)
        corner = np.array([x0, y0], np.float32)
        own, target = own - corner, target - corner
        labels = rasterize(target, TRIANGLES, (y1 - y0, x1 - x0))
        covered = labels >= 0
        _grow_labels(labels, target, margin_px)
        view = image[y0:y1, x0:x1]
        maps = backward_map(target, own, TRIANGLES, labels)
        pixels = sample_covered(self._sample, view, *maps, labels)
        mouth = _Mouth.around(target, labels, scale, margin_px, corner)
        skin = pixels[mouth.rows, mouth.columns]
        lips, interior = self._lips_and_interior(textures, mouth, skin.copy(), frame, scale)
        if strength < 0.5:  # below half, lips and interior fade to the frame's own
            share = 2 * strength
            own_interior = skin.astype(np.float32)
            self._interior.fill(view, own, mouth.target, 1.0, own_interior)
            lips = skin + (lips - skin) * share
            interior = own_interior + (interior - own_interior) * share
        kernels.compose(skin, lips, mouth.alpha, interior, mouth.opening)
        covered[mouth.rows, mouth.columns] |= mouth.opening > 0
        return Patch(pixels, covered.astype(np.float32), x0, y0)

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

    def _warp(self, image: Image, target: FloatArray, own: FloatArray, labels: IntArray) -> Image:
        """Warp `image` so that its mesh `own` lies on `target` (window coordinates)."""
        map_x, map_y = backward_map(target, own, TRIANGLES, labels)
        return self._sample(image, map_x, map_y)

    def _lips_and_interior(
        self,
        textures: list[tuple[int, float]],
        mouth: "_Mouth",
        around: Image,
        frame: int,
        scale: float,
    ) -> tuple[FloatArray, FloatArray]:
        """Lips and mouth interior from the library, warped to the mouth; float32 [h, w, 3] each.

        `around` uint8 [h, w, 3] is the frame itself, warped to the mouth.
        """
        layers = [self._texture(pick, mouth, around, frame, scale) for pick, _ in textures]
        lips, interior = layers[0]
        if len(layers) > 1:
            # Two pictures on top of each other blur: colours fade, detail is the heavier one's.
            sigma_px = max(0.8, DETAIL_IOD * scale)
            weights = [weight for _, weight in textures]
            for (heaviest, *others), part in zip(
                zip(*layers, strict=True), (np.s_[:, :], mouth.interior), strict=True
            ):
                change = np.zeros_like(heaviest[part])
                for weight, other in zip(weights[1:], others, strict=True):
                    change += weight * (other[part] - heaviest[part])
                heaviest[part] += cv2.GaussianBlur(change, (0, 0), sigma_px)
        return lips, interior

    def _texture(
        self, pick: int, mouth: "_Mouth", around: Image, frame: int, scale: float
    ) -> tuple[FloatArray, FloatArray]:
        """Lips and interior of one library picture, in the light of the frame."""
        library = self._avatar.library
        mesh = with_rim(library.points[pick][:, :2], float(library.pose.scale[pick]))
        crop = library.crops[pick]
        zoom = scale / float(library.pose.scale[pick])
        picture = self._warp(crop, mouth.target, mesh, mouth.labels)
        interior = picture.astype(np.float32)
        skull = None
        if self._teeth is not None:
            skull = self._teeth.map(pick, self._avatar.pose[frame : frame + 1], mouth.corner)
        self._interior.fill(crop, mesh, mouth.target, zoom, interior, skull=skull)
        if self._settings.color_match and library.frames[pick] != frame:
            return _match_light(picture, interior, around, mouth), interior
        return picture.astype(np.float32), interior


@dataclass(frozen=True)
class _Mouth:
    """The part of a frame's window in which lips and interior are drawn.

    Attributes
    ----------
    rows, columns : slice
        Of the window.
    corner : float32 [2]
        x, y of its first pixel in the frame.
    target : float32 [n, 2]
        The mesh, in pixels of this part.
    labels : int16 [h, w]
        The triangle of each pixel.
    distance : float32 [h, w]
        From the lips, pixels.
    ring : bool [h, w]
        Skin on which pictures are compared.
    alpha, opening : float32 [h, w]
        Opacity of the library's lips, and of the interior.
    interior : (slice, slice)
        Where the interior is drawn: the opening, and what a cross-fade reads around it.
    margin_px : float
        Width of the lips' soft edge.
    """

    rows: slice
    columns: slice
    corner: FloatArray
    target: FloatArray
    labels: IntArray
    distance: FloatArray
    ring: BoolArray
    alpha: FloatArray
    opening: FloatArray
    interior: tuple[slice, slice]
    margin_px: float

    @classmethod
    def around(
        cls,
        target: FloatArray,
        labels: IntArray,
        scale: float,
        margin_px: float,
        corner: FloatArray,
    ) -> "_Mouth":
        """The mouth of a mesh in a window that begins at `corner` of the frame.

        `scale` is the inter-ocular distance in pixels.
        """
        x0, y0, x1, y1 = bounds(target[topo.LIPS_OUTER], 2.2 * margin_px, labels.shape)
        first = np.array([x0, y0], np.float32)
        target = target - first
        labels = np.ascontiguousarray(labels[y0:y1, x0:x1])
        distance = lip_distance(target, labels.shape)
        margin = 3 + 3 * DETAIL_IOD * scale
        left, top, right, bottom = bounds(target[topo.LIPS_INNER], margin, labels.shape)
        return cls(
            slice(y0, y1),
            slice(x0, x1),
            corner + first,
            target,
            labels,
            distance,
            skin_ring(distance, scale, margin_px, labels),
            lip_mask(distance, margin_px),
            interior_mask(target, labels.shape),
            np.s_[top:bottom, left:right],
            margin_px,
        )


def _match_light(picture: Image, interior: FloatArray, around: Image, mouth: _Mouth) -> FloatArray:
    """Bring lips and interior from another moment to the light and sharpness of the frame.

    Parameters
    ----------
    picture, around : uint8 [h, w, 3]
        The other moment, and the frame, both warped to the mouth.
    interior : float32 [h, w, 3]
        Changed in place.

    Returns
    -------
    float32 [h, w, 3]
        The lips.
    """
    coefficients = fit_color_plane(around, picture, mouth.ring)
    lips = np.empty(picture.shape, np.float32)
    kernels.add_plane(picture, coefficients, lips)
    lips = match_sharpness(lips, around, mouth.ring)
    match_lip_tone(lips, around, mouth.opening, mouth.distance, mouth.margin_px)
    skin_level = None
    if mouth.ring.any():
        skin_level = np.array(cv2.mean(picture, mouth.ring.view(np.uint8))[:3], np.float32)
    light_interior(interior, coefficients, mouth.interior, skin_level)
    return lips


def _grow_labels(labels: IntArray, target: FloatArray, margin_px: float) -> None:
    """Extend triangle labels by three pixels around the lips, in place.

    Lips that open leave a hole in the mesh, and a fold leaves gaps: half a pixel of their border
    shows, so it is drawn with the nearest triangle.
    """
    x0, y0, x1, y1 = bounds(target[topo.LIPS_OUTER], margin_px, labels.shape)
    near = labels[y0:y1, x0:x1]
    grown = cv2.dilate(near, np.ones((3, 3), np.uint8), iterations=3)
    np.copyto(near, grown, where=near < 0)


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
    rate = (len(usable) - 1) / max(times_s[-1] - times_s[0], 1e-6)
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
