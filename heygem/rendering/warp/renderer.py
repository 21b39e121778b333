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

import cv2
import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.avatar.library import lip_features
from heygem.avatar.timeline import Timeline
from heygem.config.params import RendererSettings
from heygem.core.types import BoolArray, FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.face.pose import from_canonical, to_canonical
from heygem.face.topology import LOWER, LOWER_WEIGHT
from heygem.lips.motion import FrameMotion, Motion, require_drawable
from heygem.rendering.base import Patch
from heygem.rendering.warp.blend import (
    fit_color_plane,
    interior_gain,
    interior_mask,
    lip_distance,
    lip_mask,
    lip_tone,
    match_sharpness,
    skin_ring,
)
from heygem.rendering.warp.mesh_warp import (
    TRIANGLES,
    Sampler,
    backward_map,
    bounds,
    rasterize,
    with_rim,
)
from heygem.rendering.warp.mouth_interior import MouthInterior
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

    def __init__(self, avatar: Avatar, settings: RendererSettings, device: str = "cpu") -> None:
        self._avatar = avatar
        self._settings = settings
        self._sample = Sampler(device)
        self._selector = TextureSelector(avatar.library, settings)
        self._interior = MouthInterior(self._sample)
        self._strength = replacement_strength(avatar)
        self._order: IntArray = np.zeros(0, int)
        self._motion: FrameMotion = np.zeros((0, len(LOWER), 3), np.float32)
        self._textures: list[list[tuple[int, float]] | None] = []

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

    def render(self, image: Image, index: int) -> Patch | None:
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
        skin = self._warp(view, target, own, labels)
        lips, interior = self._lips_and_interior(textures, target, labels, skin, frame, scale)
        if strength < 0.5:  # below half, lips and interior fade to the frame's own
            own_interior = self._interior.fill(view, own, target, 1.0, skin)
            lips = skin + (lips - skin) * (2 * strength)
            interior = own_interior + (interior - own_interior) * (2 * strength)
        alpha = lip_mask(lip_distance(target, labels.shape), margin_px)
        mixed = skin + (lips - skin) * alpha[..., None]
        opening = interior_mask(target, labels.shape)[..., None]
        mixed += (interior - mixed) * opening
        pixels = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        covered |= opening[..., 0] > 0
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

    def _warp(
        self, image: Image, target: FloatArray, own: FloatArray, labels: IntArray
    ) -> FloatArray:
        """Warp `image` so that its mesh `own` lies on `target` (window coordinates)."""
        map_x, map_y = backward_map(target, own, TRIANGLES, labels)
        return self._sample(image, map_x, map_y).astype(np.float32)

    def _lips_and_interior(
        self,
        textures: list[tuple[int, float]],
        target: FloatArray,
        labels: IntArray,
        skin: FloatArray,
        frame: int,
        scale: float,
    ) -> tuple[FloatArray, FloatArray]:
        """Lips and mouth interior from the library, warped to `target`; float32 like `skin`."""
        margin_px = self._settings.feather * scale
        x0, y0, x1, y1 = bounds(target[topo.LIPS_OUTER], 2.2 * margin_px, labels.shape)
        target = target - np.array([x0, y0], np.float32)
        labels, around = labels[y0:y1, x0:x1], skin[y0:y1, x0:x1]
        distance = lip_distance(target, labels.shape)
        ring = skin_ring(distance, scale, margin_px, labels)
        layers = []
        for pick, weight in textures:
            zoom = scale / float(self._avatar.library.pose.scale[pick])
            layer = self._texture(pick, target, labels, zoom)
            if self._settings.color_match and self._avatar.library.frames[pick] != frame:
                layer = _match_light(*layer, around, target, distance, ring, margin_px)
            layers.append((weight, *layer))
        lips, interior = np.zeros_like(around), np.zeros_like(around)
        for weight, lip_layer, interior_layer in layers:
            lips += weight * lip_layer
            interior += weight * interior_layer
        if len(layers) > 1:
            # Two pictures on top of each other blur: colours fade, detail is the heavier one's.
            sigma_px = max(0.8, DETAIL_IOD * scale)
            lips, interior = (
                cv2.GaussianBlur(mixed, (0, 0), sigma_px)
                + heaviest
                - cv2.GaussianBlur(heaviest, (0, 0), sigma_px)
                for mixed, heaviest in zip((lips, interior), layers[0][1:], strict=True)
            )
        whole = skin.copy(), skin.copy()
        whole[0][y0:y1, x0:x1], whole[1][y0:y1, x0:x1] = lips, interior
        return whole

    def _texture(
        self, pick: int, target: FloatArray, labels: IntArray, zoom: float
    ) -> tuple[FloatArray, FloatArray]:
        """Lips and interior of one library picture, warped to `target`, in their own light."""
        library = self._avatar.library
        mesh = with_rim(library.points[pick][:, :2], float(library.pose.scale[pick]))
        crop = library.crops[pick]
        lips = self._warp(crop, target, mesh, labels)
        return lips, self._interior.fill(crop, mesh, target, zoom, lips)


def _match_light(
    lips: FloatArray,
    interior: FloatArray,
    around: FloatArray,
    target: FloatArray,
    distance: FloatArray,
    ring: BoolArray,
    margin_px: float,
) -> tuple[FloatArray, FloatArray]:
    """Bring lips and interior from another moment to the light and sharpness of the frame."""
    correction = fit_color_plane(around - lips, ring)
    gain = interior_gain(correction, ring, lips)
    lips = match_sharpness(lips + correction, around, ring)
    lips = lips + lip_tone(around, lips, target, distance, margin_px)
    return lips, interior * gain


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
