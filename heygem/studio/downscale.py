"""A person at a smaller size: the same face, fewer pixels to draw."""

from dataclasses import replace

import cv2
import numpy as np

from heygem.face.pose import Pose


def smaller(image, size):
    """A picture `uint8 [H, W, 3]` at `size` (width, height), each pixel the mean of its area."""
    if (image.shape[1], image.shape[0]) == tuple(size):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def shrink(person, longest_px):
    """An avatar whose pictures are at most `longest_px` wide and high.

    Everything in pixels shrinks with the picture; everything in eye distances stays.

    Parameters
    ----------
    person : heygem.avatar.Avatar
    longest_px : int

    Returns
    -------
    heygem.avatar.Avatar
        `person` itself where it is small enough.
    """
    track = person.track
    zoom = longest_px / max(track.width, track.height)
    if zoom >= 1:
        return person
    width, height = round(track.width * zoom), round(track.height * zoom)
    points = _scaled(track.points, (width / track.width, height / track.height, zoom))
    crops, meshes = [], []
    for crop, mesh in zip(person.library.crops, person.library.points, strict=True):
        h, w = crop.shape[:2]
        size = max(1, round(w * zoom)), max(1, round(h * zoom))
        crops.append(smaller(crop, size))
        meshes.append(_scaled(mesh, (size[0] / w, size[1] / h, zoom)))
    library = replace(
        person.library,
        crops=crops,
        points=np.stack(meshes),
        pose=_posed(person.library.pose, zoom),
        corners=np.rint(person.library.corners * zoom).astype(int),
    )
    track = replace(track, points=points, width=width, height=height)
    return replace(person, track=track, pose=_posed(person.pose, zoom), library=library)


def _scaled(points, zoom):
    """Points of a shrunken picture; pixel centres are at whole numbers, so edges are at halves."""
    shift = np.array([0.5, 0.5, 0.0], np.float32)
    return ((points + shift) * np.array(zoom, np.float32) - shift).astype(np.float32)


def _posed(pose, zoom):
    return Pose(pose.rotation, (pose.scale * zoom).astype(np.float32), _scaled(pose.offset, zoom))
