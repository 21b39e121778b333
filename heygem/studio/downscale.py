"""Scale an avatar down: the same face with fewer pixels to render."""

from dataclasses import replace

import cv2
import numpy as np

from heygem.avatar import Avatar
from heygem.core.types import FloatArray, Image
from heygem.face.pose import Pose

MAX_PREVIEW_PX = 960  # longer side of a preview; a page shows it 818 pixels wide at most
MAX_FACE_PX = 320  # rendering costs by the pixels of the face; a wider one looks no better
MIN_PREVIEW_PX = 720  # no preview gets smaller than a page displays it


def downscale_image(image: Image, size: tuple[int, int]) -> Image:
    """Resize uint8 [H, W, 3] to `size` (width, height); each pixel is the mean of its area."""
    if (image.shape[1], image.shape[0]) == tuple(size):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def preview_px(avatar: Avatar) -> int:
    """Longer side of an avatar's previews in pixels; smaller where the face fills the frame."""
    longest = max(avatar.track.width, avatar.track.height)
    by_face = longest * MAX_FACE_PX / max(avatar.report["face_px"], 1)
    return round(min(MAX_PREVIEW_PX, max(by_face, MIN_PREVIEW_PX)))


def downscale_avatar(avatar: Avatar, longest_px: int) -> Avatar:
    """An avatar whose frames are at most `longest_px` wide and high.

    Values in pixels are scaled with the frames; values in inter-ocular distances are kept.

    Returns
    -------
    heygem.avatar.Avatar
        `avatar` itself where it is small enough.
    """
    track = avatar.track
    zoom = longest_px / max(track.width, track.height)
    if zoom >= 1:
        return avatar
    # Even, so that previews are drawn in the codec's planes.
    width, height = (2 * max(1, round(n * zoom / 2)) for n in (track.width, track.height))
    points = _scale_points(track.points, (width / track.width, height / track.height, zoom))
    crops, meshes = [], []
    for crop, mesh in zip(avatar.library.crops, avatar.library.points, strict=True):
        h, w = crop.shape[:2]
        size = max(1, round(w * zoom)), max(1, round(h * zoom))
        crops.append(downscale_image(crop, size))
        meshes.append(_scale_points(mesh, (size[0] / w, size[1] / h, zoom)))
    library = replace(
        avatar.library,
        crops=crops,
        points=np.stack(meshes),
        pose=_scale_pose(avatar.library.pose, zoom),
        corners=np.rint(avatar.library.corners * zoom).astype(int),
    )
    track = replace(track, points=points, width=width, height=height)
    return replace(avatar, track=track, pose=_scale_pose(avatar.pose, zoom), library=library)


def _scale_points(points: FloatArray, zoom: float | tuple[float, float, float]) -> FloatArray:
    """Scale points [..., 3] with their image: pixel centres lie at integers, edges at halves."""
    shift = np.array([0.5, 0.5, 0.0], np.float32)
    return ((points + shift) * np.array(zoom, np.float32) - shift).astype(np.float32)


def _scale_pose(pose: Pose, zoom: float) -> Pose:
    scale = (pose.scale * zoom).astype(np.float32)
    return Pose(pose.rotation, scale, _scale_points(pose.offset, zoom))
