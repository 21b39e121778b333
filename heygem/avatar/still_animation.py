"""A still portrait that moves its head and eyes: its frames, and its mesh in each of them.

The picture is given a depth: that of the face mesh, and around it that of an ellipsoid. A small
turn of the head about the neck then shifts every pixel by an amount that is linear in the three
angles. Away from the head the shift fades out, so that the background and the edges of the picture
stay where they are. What is drawn of the eyes is in `heygem.avatar.still_eyes`.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from heygem.avatar.avatar import Avatar
from heygem.avatar.still_eyes import Eye, find_eyes, wears_glasses
from heygem.avatar.still_motion import StillMotion, loudness_of, plan_motion
from heygem.avatar.timeline import STILL_RATE, frames_in_order, still_times_s
from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.core.interpolation import smoothstep
from heygem.core.types import FloatArray, Image
from heygem.face import topology as topo
from heygem.face.attention_mesh import AttentionEyes
from heygem.face.pose import fit_to, to_canonical
from heygem.media.yuv import Picture, YuvImage

GRID_IOD = 0.05  # spacing of the nodes at which shifts are computed
NECK_IOD = (0.0, 1.0, 0.95)  # what the head turns about: below and behind the eyes
HEAD_CENTRE_IOD, HEAD_RADII_IOD = (0.0, 0.1, 0.85), (0.95, 1.45, 0.95)
RIGID_IOD = (1.05, 1.55)  # half axes of the ellipse that moves as a whole, with hair
FADE = 2.2  # times that ellipse, where nothing moves any more
EDGE_IOD = 0.5  # from the edge of the picture, within which movement fades out
SMOOTH_IOD = 0.06  # of the depth
MAX_MOTION_S = 600.0  # memory: a longer sound goes through the movement back and forth


@dataclass(frozen=True)
class StillAnimation:
    """The moving picture of a portrait.

    Attributes
    ----------
    motion : StillMotion
    x, y : int
        First column and row of the window that moves.
    shifts : float32 [3, h, w, 2]
        Shift of the nodes of a grid over the window, pixels for each radian of yaw, pitch and roll.
    size : (int, int)
        Width and height of the window, pixels.
    eyes : tuple of Eye
        In the window.
    """

    motion: StillMotion
    x: int
    y: int
    shifts: FloatArray
    size: tuple[int, int]
    eyes: tuple[Eye, ...]

    def picture(self, still: Picture, frame: int) -> Picture:
        """A frame of the moving portrait, in the form of the still it is made from.

        Parameters
        ----------
        still : uint8 [H, W, 3], RGB; or YuvImage
        frame : int
        """
        width, height = self.size
        window = still[self.y : self.y + height, self.x : self.x + width].copy()
        gaze = np.radians(self.motion.gaze_deg[frame])
        for eye in self.eyes:
            eye.draw(window, float(self.motion.lids[frame]), gaze)
        shift = cv2.resize(self._shift(frame), self.size, interpolation=cv2.INTER_LINEAR)
        columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        moved = cv2.remap(
            window,
            columns - shift[..., 0],
            rows[:, None] - shift[..., 1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        out = still.copy()
        if isinstance(out, YuvImage):
            out.paste(moved, np.ones((height, width), bool), self.x, self.y)
        else:
            out[self.y : self.y + height, self.x : self.x + width] = moved
        return out

    def moved(self, points: FloatArray) -> FloatArray:
        """Where points of the still are in every frame : float32 [n, 2] to float32 [T, n, 2]."""
        corner = np.array([self.x, self.y], np.float32)
        out = np.empty((len(self.motion), *points.shape), np.float32)
        for frame in range(len(out)):
            shift, place = self._shift(frame), points - corner
            for _ in range(4):  # the shift is that of the pixel where the point arrives
                place = points - corner + self._at(shift, place)
            out[frame] = place + corner
        return out

    def _shift(self, frame: int) -> FloatArray:
        """Shift of the nodes in a frame : float32 [h, w, 2], pixels."""
        turn = np.radians(self.motion.turn_deg[frame])
        return np.tensordot(turn, self.shifts, 1).astype(np.float32)

    def _at(self, shift: FloatArray, place: FloatArray) -> FloatArray:
        """The shift at some places of the window, as `cv2.resize` interpolates it."""
        (width, height), (rows, columns) = self.size, shift.shape[:2]
        at = (place + 0.5) * (columns / width, rows / height) - 0.5
        x, y = np.ascontiguousarray(at.T, np.float32)
        return cv2.remap(shift, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def animate(avatar: Avatar, samples: FloatArray, rate_hz: int, amount: float) -> Avatar:
    """The avatar of a still portrait, moving for as long as a sound; other avatars as they are.

    Parameters
    ----------
    avatar : Avatar
    samples : float32 [n]
        The speech it is going to speak.
    rate_hz : int
        Samples per second.
    amount : float
        See `heygem.avatar.still_motion.plan_motion`; 0 leaves the portrait as it is.
    """
    if not avatar.is_still or amount <= 0 or not avatar.usable.all():
        return avatar
    times_s = still_times_s(min(len(samples) / rate_hz, MAX_MOTION_S))
    seed = [int(avatar.sha256[:12], 16), len(samples)]
    loudness = loudness_of(samples, rate_hz, times_s)
    motion = plan_motion(loudness, float(STILL_RATE), amount, seed)
    animation = _animation(avatar, motion)
    count = len(times_s)
    points = _moved_mesh(avatar, animation)
    template = to_canonical(avatar.track.points, avatar.pose)[0]
    repeated: dict[str, Any] = {
        name: np.repeat(getattr(avatar.track, name), count, 0)
        for name in ("detected", "score", "clarity", "occluded")
    }
    cut = np.zeros(count, bool)
    track = replace(avatar.track, points=points, times_s=times_s, cut=cut, **repeated)
    return replace(
        avatar,
        track=track,
        pose=fit_to(points[:, topo.STABLE], template, sigma_frames=0),
        usable=np.ones(count, bool),
        reasons=np.repeat(avatar.reasons, count),
        animation=animation,
    )


def _moved_mesh(avatar: Avatar, animation: StillAnimation) -> FloatArray:
    """The mesh in every frame : float32 [T, 468, 3], pixels."""
    points, pose = avatar.track.points[0], avatar.pose
    xy = animation.moved(points[:, :2])
    depth = to_canonical(points[None], pose)[0] - NECK_IOD
    generators = np.einsum("ij,ajk,nk->ani", pose.rotation[0], _GENERATORS, depth)[..., 2]
    turn = np.radians(animation.motion.turn_deg)
    z = points[:, 2] + pose.scale[0] * turn @ generators
    return np.concatenate([xy, z[..., None]], 2).astype(np.float32)


#: Derivatives of a rotation by yaw, pitch and roll, as `Pose.angles_deg` counts them.
_GENERATORS = np.array(
    [
        [[0, 0, -1], [0, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    np.float64,
)


def _animation(avatar: Avatar, motion: StillMotion) -> StillAnimation:
    """Depth, shifts and eyes of a portrait."""
    track, pose = avatar.track, avatar.pose
    scale, offset, rotation = float(pose.scale[0]), pose.offset[0], pose.rotation[0]
    reach = FADE * max(RIGID_IOD) * scale
    x0, y0 = (max(0, int(c - reach)) // 2 * 2 for c in offset[:2])
    x1 = min(track.width, int(offset[0] + reach))
    y1 = min(track.height, int(offset[1] + reach))
    width, height = x1 - x0, y1 - y0
    step = GRID_IOD * scale
    columns, rows = max(2, round(width / step)), max(2, round(height / step))
    x = x0 + (np.arange(columns) + 0.5) * width / columns - 0.5
    y = y0 + (np.arange(rows) + 0.5) * height / rows - 0.5
    picture = np.stack(np.meshgrid(x, y), -1)
    depth = _depth(picture, avatar, SMOOTH_IOD / GRID_IOD)
    nodes = np.concatenate([picture, depth[..., None]], -1)
    canonical = (nodes - offset) @ rotation / scale
    weight = _weight(canonical, picture, (track.width, track.height), scale)
    turned = np.einsum("ij,ajk,yxk->ayxi", rotation, _GENERATORS, canonical - NECK_IOD)
    shifts = (weight[..., None] * scale * turned[..., :2]).astype(np.float32)
    (image,) = frames_in_order(avatar, np.zeros(1, int))
    points = _with_precise_eyes(image, track.points[0])
    if wears_glasses(image, points, scale):
        motion = replace(motion, lids=np.zeros_like(motion.lids))
    eyes = find_eyes(points - np.array([x0, y0, 0], np.float32), scale, (width, height))
    return StillAnimation(motion, x0, y0, shifts, (width, height), eyes)


def _with_precise_eyes(image: Image, points: FloatArray) -> FloatArray:
    """The mesh with the contours of the eyes fitted once more, where that model is there."""
    try:
        model = AttentionEyes(assets.path("face_landmark_with_attention.tflite"))
    except AssetError:
        return points
    return model(image, points)


def _depth(picture: FloatArray, avatar: Avatar, sigma: float) -> FloatArray:
    """Depth of picture nodes [h, w, 2], in pixels as the mesh's: face, head, else its middle."""
    from scipy.interpolate import LinearNDInterpolator  # loads 60 MB, which only stills need

    points, pose = avatar.track.points[0], avatar.pose
    scale, offset, rotation = float(pose.scale[0]), pose.offset[0], pose.rotation[0]
    flat = np.concatenate([picture - offset[:2], np.zeros((*picture.shape[:2], 1))], -1)
    ray = (flat @ rotation / scale - HEAD_CENTRE_IOD)[..., :2] / HEAD_RADII_IOD[:2]
    bulge = np.sqrt(np.maximum(0, 1 - (ray**2).sum(-1)))
    head = offset[2] + scale * (HEAD_CENTRE_IOD[2] - HEAD_RADII_IOD[2] * bulge)
    face = LinearNDInterpolator(points[:, :2], points[:, 2])(picture)
    inside = np.isfinite(face)
    # Both surfaces meet at the edge of the face.
    level = float(np.median((face - head)[inside])) if inside.any() else 0.0
    depth = np.where(inside, face, head + level)
    return gaussian_filter(depth, sigma, mode="nearest")


def _weight(
    canonical: FloatArray, picture: FloatArray, size: tuple[int, int], scale: float
) -> FloatArray:
    """How far picture nodes move with the head, 0..1 : float [h, w]."""
    ellipse = (canonical[..., :2] - HEAD_CENTRE_IOD[:2]) / RIGID_IOD
    radius = np.linalg.norm(ellipse, axis=-1)
    weight = 1 - smoothstep(1, FADE, radius)
    edge = np.minimum(picture, np.array(size) - 1 - picture).min(-1)
    return weight * smoothstep(0, EDGE_IOD * scale, edge)
