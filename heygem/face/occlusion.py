"""Frames in which something is in front of the mouth: a hand, a cup, a microphone.

A face mesh guesses the hidden part, with full confidence and in about the right place, so its score
says nothing. The image does: points on the skin keep their colour while a person speaks and turns,
up to a few directions in which colours change together (light, jaw, pose). These directions are the
principal components of the clip itself, fitted on its most ordinary frames. Where many points
around the mouth are far from what they explain, something else is in the image there.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from heygem.core.types import BoolArray, FloatArray, Image
from heygem.face import topology as topo
from heygem.face.topology import LOWER, LOWER_WEIGHT

SAMPLING_FACE_PX = 96  # colours are read from an image of the face of this width: less noise
COMPONENTS = 6  # directions in which a mouth's surroundings change of themselves
OUTLIER_LEVELS = 25.0  # grey levels from what the components explain
OCCLUDED_SHARE = 0.4  # share of outlying points that means occlusion; a pout reaches 0.3
ADJACENT_SHARE = 0.15  # the same for frames next to an occluded one: the hand comes and goes
ORDINARY_SHARE = 0.75  # of frames, on which the components are fitted
FIT_ROUNDS = 3
MIN_FRAMES = 40  # fewer do not tell what is ordinary
MAX_SHARE = 0.4  # of frames; what is there more often belongs to the person

# The inside of the mouth may show anything; where the weight is small, nothing is rendered.
_MOUTH = np.array(
    [i for i, w in zip(LOWER, LOWER_WEIGHT, strict=True) if w > 0.5 and i not in topo.LIPS_INNER]
)
_POINTS = np.concatenate([_MOUTH, topo.STABLE])
NO_COLOURS = np.zeros((len(_POINTS), 3), np.uint8)  # of a frame without a face


def skin_colours(image: Image, points: FloatArray) -> Image:
    """Colours of a face at fixed points of its mesh.

    Parameters
    ----------
    image : uint8 [H, W, 3]
    points : float32 [468, 3], pixels

    Returns
    -------
    uint8 [P, 3]
    """
    xy = points[:, :2]
    height, width = image.shape[:2]
    x0, y0 = np.maximum(np.floor(xy.min(0)) - 4, 0).astype(int)
    x1, y1 = np.minimum(np.ceil(xy.max(0)) + 4, (width, height)).astype(int)
    if x1 - x0 < 8 or y1 - y0 < 8:  # the face has left the image
        return NO_COLOURS
    scale = SAMPLING_FACE_PX / max(float(np.ptp(xy[:, 0])), 1.0)
    size = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.blur(cv2.resize(image[y0:y1, x0:x1], size, interpolation=interpolation), (3, 3))
    positions = (xy[_POINTS] - (x0, y0) + 0.5) * size / (x1 - x0, y1 - y0) - 0.5
    column, row = np.clip(np.round(positions).astype(int), 0, np.array(size) - 1).T
    return small[row, column]


def occluded_frames(colours: Sequence[Image], detected: BoolArray, cuts: BoolArray) -> BoolArray:
    """Frames in which the mouth is hidden.

    Parameters
    ----------
    colours : sequence of uint8 [P, 3], T long
        From `skin_colours`; frames without a face do not matter.
    detected : bool [T]
    cuts : bool [T]
        First frames of shots; each shot has its own light.

    Returns
    -------
    bool [T]
    """
    occluded = np.zeros(len(detected), bool)
    edges = [0, *np.flatnonzero(cuts[1:]) + 1, len(detected)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        shot = np.flatnonzero(detected[start:stop]) + start
        if len(shot) >= MIN_FRAMES:
            occluded[shot] = _occluded_in_shot(np.stack([colours[i] for i in shot]))
    return occluded


def _occluded_in_shot(colours: Image) -> BoolArray:
    """The same for the frames of one shot, colours uint8 [T, P, 3] : bool [T]."""
    share = _outlier_share(colours.astype(np.float32))
    occluded = share > OCCLUDED_SHARE
    if occluded.mean() > MAX_SHARE:
        return np.zeros(len(share), bool)
    adjacent = share > ADJACENT_SHARE
    for order in (range(len(share)), range(len(share) - 1, -1, -1)):  # spread to both sides
        previous = False
        for i in order:
            occluded[i] |= adjacent[i] and previous
            previous = occluded[i]
    return occluded


def _outlier_share(colours: FloatArray) -> FloatArray:
    """Share of points around the mouth whose colour the components do not explain : float [T]."""
    mouth, upper = colours[:, : len(_MOUTH)], colours[:, len(_MOUTH) :]
    # The camera's exposure changes the whole face; the median, as a hand may reach some points.
    light = np.median(upper - np.median(upper, 0), 1, keepdims=True)
    flat = (mouth - light).reshape(len(colours), -1)
    flat -= np.median(flat, 0)
    residual = flat
    for _ in range(FIT_ROUNDS):
        # Without the farthest frames, else a hand would become a component of its own.
        distance = (residual**2).sum(1)
        ordinary = distance <= np.quantile(distance, ORDINARY_SHARE)
        mean = flat[ordinary].mean(0)
        centred = flat[ordinary] - mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        components = vectors[:, -COMPONENTS:]
        residual = flat - mean
        residual -= residual @ components @ components.T
    levels = np.sqrt((residual.reshape(len(colours), -1, 3) ** 2).sum(2))
    return (levels > OUTLIER_LEVELS).mean(1)
