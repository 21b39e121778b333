"""Frames in which something passes before the mouth: a hand, a cup, a microphone.

A face mesh guesses the hidden part, with full confidence and in about the right place, so its score
says nothing. The picture does: points that sit on the skin keep their colour while a person speaks
and turns, up to a few ways in which it changes together (light, jaw, pose). These few ways are the
principal components of the clip itself, fitted on its most ordinary frames; where many points
around the mouth are far from what they allow, something else is seen there.
"""

import cv2
import numpy as np

from heygem.face import topology as topo
from heygem.face.topology import LOWER, LOWER_WEIGHT

FACE_PX = 96  # colours are read from a picture of the face of this width, so noise is averaged
COMPONENTS = 6  # ways in which a mouth's surroundings change of themselves
FAR = 25.0  # grey levels away from them
COVERED = 0.4  # share of points that are far from which the mouth is covered; a pout reaches 0.3
TOUCHED = 0.15  # the same for frames beside such a one: the hand comes and goes
ORDINARY = 0.75  # share of frames the components are fitted on
FEWEST_FRAMES = 40  # less than this says nothing about what is ordinary
MOST_SHARE = 0.4  # what is seen more often than this belongs to the person

# The inside of the mouth shows anything; where the weight is small, nothing is drawn.
_MOUTH = np.array(
    [i for i, w in zip(LOWER, LOWER_WEIGHT, strict=True) if w > 0.5 and i not in topo.LIPS_INNER]
)
_POINTS = np.concatenate([_MOUTH, topo.STABLE])
NO_COLOURS = np.zeros((len(_POINTS), 3), np.uint8)  # of a frame without a face


def colours_of(image, points):
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
    if x1 - x0 < 8 or y1 - y0 < 8:  # the face has left the picture
        return NO_COLOURS
    scale = FACE_PX / max(float(np.ptp(xy[:, 0])), 1.0)
    size = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.blur(cv2.resize(image[y0:y1, x0:x1], size, interpolation=how), (3, 3))
    at = (xy[_POINTS] - (x0, y0) + 0.5) * size / (x1 - x0, y1 - y0) - 0.5
    column, row = np.clip(np.round(at).astype(int), 0, np.array(size) - 1).T
    return small[row, column]


def covered(colours, found, cuts):
    """Which frames hide the mouth.

    Parameters
    ----------
    colours : list of uint8 [P, 3], T long
        From `colours_of`; rows of frames without a face do not matter.
    found : bool [T]
    cuts : bool [T]
        First frames of shots; each shot has its own light.

    Returns
    -------
    bool [T]
    """
    hidden = np.zeros(len(found), bool)
    edges = [0, *np.flatnonzero(cuts[1:]) + 1, len(found)]
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        shot = np.flatnonzero(found[start:stop]) + start
        if len(shot) >= FEWEST_FRAMES:
            hidden[shot] = _covered(np.stack([colours[i] for i in shot]))
    return hidden


def _covered(colours):
    """The same for the frames of one shot."""
    x = colours.astype(np.float32)
    mouth, above = x[:, : len(_MOUTH)], x[:, len(_MOUTH) :]
    # The camera's own exposure moves the whole face; a hand may reach some of the upper points.
    light = np.median(above - np.median(above, 0), 1, keepdims=True)
    flat = (mouth - light).reshape(len(x), -1)
    flat -= np.median(flat, 0)
    rest = flat
    for _ in range(3):
        # From the first round on without what is farthest: a hand would else be a way of its own.
        away = (rest**2).sum(1)
        ordinary = away <= np.quantile(away, ORDINARY)
        middle = flat[ordinary].mean(0)
        varied = flat[ordinary] - middle
        _, vectors = np.linalg.eigh(varied.T @ varied)
        ways = vectors[:, -COMPONENTS:]
        rest = flat - middle
        rest -= rest @ ways @ ways.T
    distance = np.sqrt((rest.reshape(len(x), -1, 3) ** 2).sum(2))
    share = (distance > FAR).mean(1)
    hidden = share > COVERED
    if hidden.mean() > MOST_SHARE:
        return np.zeros(len(x), bool)
    touched = share > TOUCHED
    for step in (1, -1):  # spread over neighbours that are touched, forwards and backwards
        order = range(len(x)) if step > 0 else range(len(x) - 1, -1, -1)
        before = False
        for i in order:
            hidden[i] |= touched[i] and before
            before = hidden[i]
    return hidden
