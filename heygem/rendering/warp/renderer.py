"""Mouth trajectory + the person's own frames -> mouth pixels, at the camera's resolution.

Three layers, from the outside in, all bent to the same wanted geometry:

1. *skin*: the frame itself, warped by the face mesh so that chin and cheeks go where the new mouth
   wants them. Light, beard, pose and sharpness are the frame's own, and at the rim of the region
   the warp is the identity, so there is no seam to hide.
2. *lips*: the person's own picture (another frame of theirs) whose mouth comes nearest in shape and
   pose. One shortest path over the whole sequence chooses the pictures (Viterbi), so the texture
   changes rarely, and then by a short cross-fade. Its colour is fitted to the skin around it.
3. *inside*: teeth and tongue from the same picture. They are not stretched with the lips: the upper
   part hangs on the upper lip, the lower part on the lower lip, and the lips close over them, as
   they do in a head. Who never shows an inside gets a drawn one.
"""

import cv2
import numpy as np

from heygem.avatar.library import lip_features
from heygem.face import topology as topo
from heygem.face.pose import from_canonical, to_canonical
from heygem.face.topology import LOWER, LOWER_WEIGHT
from heygem.rendering.base import Patch
from heygem.rendering.warp.blend import (
    colour_plane,
    hole_mask,
    inside_gain,
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
    rasterise,
    with_rim,
)
from heygem.rendering.warp.mouth_interior import MouthInterior
from heygem.rendering.warp.texture_selection import TextureSelector

DETAIL = 0.02  # what is finer than this is never averaged [eye distances]
FADE_S = 0.12  # time over which the mouth is handed over at frames left untouched

_ROW = {i: k for k, i in enumerate(LOWER)}
_UP = np.array([_ROW[i] for i in topo.INNER_UPPER])
_LOW = np.array([_ROW[i] for i in topo.INNER_LOWER])


class WarpRenderer:
    """Draws one avatar's mouth.

    Parameters
    ----------
    avatar : heygem.avatar.Avatar
    settings : heygem.config.params.RendererSettings
    device : str
        "cpu" or a torch device.
    """

    def __init__(self, avatar, settings, device="cpu"):
        self._avatar = avatar
        self._settings = settings
        self._sample = Sampler(device)
        self._textures = TextureSelector(avatar.library, settings)
        self._inside = MouthInterior(self._sample)
        self._strength = _hand_over(avatar)

    def plan(self, displacement, order):
        """Fix the wanted geometry and choose the textures for a whole sequence.

        Parameters
        ----------
        displacement : float32 [T, len(LOWER), 3], or anything indexable like it
            Wanted lower face relative to rest, in eye distances.
        order : int [T]
            Frame of the avatar's video that each output frame stands on.
        """
        avatar = self._avatar
        order = np.asarray(order)
        usable = avatar.usable[order]
        self._order = order
        self._wanted = displacement
        self._weights = [None] * len(order)
        at = np.flatnonzero(usable)
        if not len(at):
            return
        angles = avatar.pose.angles_deg[order[at]]
        features = []
        for k in range(0, len(at), 512):  # bounded memory, whatever the length
            rows = at[k : k + 512]
            features.append(lip_features(self._shapes(rows)))
        cut = avatar.track.cut[order]
        shots = np.cumsum(avatar.track.cut)
        chosen = self._textures.choose(
            np.concatenate(features), angles, at, cut, shots[order[at]], shots
        )
        for k, weights in zip(at, chosen, strict=True):
            self._weights[k] = weights

    def render(self, image, index):
        """Draw the mouth of one output frame.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB
            The avatar's frame that this output frame stands on.
        index : int
            Position in the planned sequence.

        Returns
        -------
        Patch or None
            None where the frame has to pass through untouched.
        """
        weights = self._weights[index]
        strength = self._strength[self._order[index]]
        if weights is None or strength <= 0:
            return None
        frame = self._order[index]
        scale = float(self._avatar.pose.scale[frame])
        margin_px = self._settings.feather * scale
        own = with_rim(self._avatar.track.points[frame][:, :2], scale)
        wanted = with_rim(self._avatar.track.points[frame][:, :2], scale)
        wanted[LOWER] += (
            LOWER_WEIGHT[:, None] * strength * (self._target(index, frame) - own[LOWER])
        )
        x0, y0, x1, y1 = bounds(np.concatenate([own[TRIANGLES], wanted[TRIANGLES]]), 1, image.shape)
        corner = np.array([x0, y0], np.float32)
        labels = rasterise(wanted - corner, TRIANGLES, (y1 - y0, x1 - x0))
        covered = labels >= 0
        # Lips that open leave a hole in the mesh, and a fold leaves gaps: what borders on them is
        # drawn with the nearest triangle, since half a pixel of it shows.
        b = bounds(wanted[topo.LIPS_OUTER] - corner, margin_px, labels.shape)
        near = labels[b[1] : b[3], b[0] : b[2]]
        grown = cv2.dilate(near, np.ones((3, 3), np.uint8), iterations=3)
        np.copyto(near, grown, where=near < 0)
        view = image[y0:y1, x0:x1]
        skin = self._warp(view, wanted - corner, own - corner, labels)
        lips, inside = self._lips(weights, wanted - corner, labels, skin, frame, scale)
        if strength < 0.5:  # both are the frame's own where it is handed over
            own_inside = self._inside.fill(view, own - corner, wanted - corner, 1.0, skin)
            lips = skin + (lips - skin) * (2 * strength)
            inside = own_inside + (inside - own_inside) * (2 * strength)
        alpha = lip_mask(lip_distance(wanted - corner, labels.shape), margin_px)
        mixed = skin + (lips - skin) * alpha[..., None]
        hole = hole_mask(wanted - corner, labels.shape)[..., None]
        mixed += (inside - mixed) * hole
        out = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        covered |= hole[..., 0] > 0
        return Patch(out, covered.astype(np.float32), x0, y0)

    def _shapes(self, rows):
        """Lower face that is really drawn, in the canonical frame : float32 [n, len(LOWER), 3]."""
        avatar, frames = self._avatar, self._order[rows]
        pose = avatar.pose[frames]
        shape = resolve_lip_contact(avatar.rest.at(pose) + self._wanted[rows])
        partly = np.flatnonzero(self._strength[frames] < 1)
        if len(partly):
            own = to_canonical(avatar.track.points[frames[partly]][:, LOWER], pose[partly])
            share = self._strength[frames[partly], None, None]
            shape[partly] = own + share * (shape[partly] - own)
        return shape

    def _target(self, index, frame):
        """Wanted lower face in the picture : float32 [len(LOWER), 2], pixels."""
        pose = self._avatar.pose[frame : frame + 1]
        shape = resolve_lip_contact(self._avatar.rest.at(pose) + self._wanted[index : index + 1])
        return from_canonical(shape, pose)[0, :, :2]

    def _warp(self, image, wanted, own, labels):
        """Bend `image` so that its mesh `own` lies on `wanted` (window coordinates)."""
        map_x, map_y = backward_map(wanted, own, TRIANGLES, labels)
        return self._sample(image, map_x, map_y).astype(np.float32)

    def _lips(self, weights, wanted, labels, skin, frame, scale):
        """Lips and inside of the mouth from the library, bent to `wanted`; float32 pictures."""
        lib = self._avatar.library
        margin_px = self._settings.feather * scale
        x0, y0, x1, y1 = bounds(wanted[topo.LIPS_OUTER], 2.2 * margin_px, labels.shape)
        wanted = wanted - np.array([x0, y0], np.float32)
        labels, around = labels[y0:y1, x0:x1], skin[y0:y1, x0:x1]
        lips, inside = np.zeros_like(around), np.zeros_like(around)
        distance = lip_distance(wanted, labels.shape)
        ring = skin_ring(distance, scale, margin_px, labels)
        sharpest = None
        for pick, weight in weights:
            source_scale = float(lib.pose.scale[pick])
            mesh = with_rim(lib.points[pick][:, :2], source_scale)
            warped = self._warp(lib.crops[pick], wanted, mesh, labels)
            filling = self._inside.fill(lib.crops[pick], mesh, wanted, scale / source_scale, warped)
            if self._settings.color_match and lib.frames[pick] != frame:
                correction = colour_plane(around - warped, ring)
                gain = inside_gain(correction, ring, warped)
                warped = match_sharpness(warped + correction, around, ring)
                warped = warped + lip_tone(around, warped, wanted, distance, margin_px)
                filling = filling * gain
            sharpest = (warped, filling) if sharpest is None else sharpest
            lips += weight * warped
            inside += weight * filling
        if len(weights) > 1:
            # Two pictures on top of each other blur: colours fade, detail is the heavier one's.
            sigma_px = max(0.8, DETAIL * scale)
            lips, inside = (
                cv2.GaussianBlur(mixed, (0, 0), sigma_px)
                + one
                - cv2.GaussianBlur(one, (0, 0), sigma_px)
                for mixed, one in zip((lips, inside), sharpest, strict=True)
            )
        whole = skin.copy(), skin.copy()
        whole[0][y0:y1, x0:x1], whole[1][y0:y1, x0:x1] = lips, inside
        return whole


def resolve_lip_contact(shape):
    """Lips touch, they do not pass through each other: part crossed inner contours evenly."""
    shape = shape.copy()
    overlap = np.maximum(shape[:, _UP, 1] - shape[:, _LOW, 1], 0) / 2
    inner = slice(1, 10)  # the corners are shared
    shape[:, _UP[inner], 1] -= overlap[:, inner]
    shape[:, _LOW[inner], 1] += overlap[:, inner]
    return shape


def _hand_over(avatar):
    """How far each frame's mouth is replaced, 0..1: fades towards frames left untouched."""
    usable = avatar.usable
    strength = usable.astype(np.float32)
    if usable.all() or len(usable) < 3:
        return strength
    rate = (len(usable) - 1) / max(avatar.track.times_s[-1] - avatar.track.times_s[0], 1e-6)
    frames = max(1, round(FADE_S * rate))
    distance = np.full(len(usable), frames + 1.0)
    count = frames + 1.0
    for forward in (True, False):
        count = frames + 1.0
        indices = range(len(usable)) if forward else range(len(usable) - 1, -1, -1)
        for i in indices:
            # Across a cut nobody sees a jump.
            if avatar.track.cut[i] and forward:
                count = frames + 1.0
            count = 0.0 if not usable[i] else count + 1
            distance[i] = min(distance[i], count)
            if avatar.track.cut[i] and not forward:
                count = frames + 1.0
    return np.clip(distance / (frames + 1), 0, 1).astype(np.float32) * usable
