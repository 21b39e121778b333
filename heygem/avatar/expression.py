"""A person's slow expression in a video: smiles that come and go, apart from speech.

Cheeks and the folds beside a mouth stay as the video shows them. A mouth that is drawn without the
smile of its frame looks lopsided between them.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem.core.interpolation import mean_rate_hz
from heygem.core.types import BoolArray, FloatArray
from heygem.face import topology as topo
from heygem.face.pose import Pose, to_canonical
from heygem.face.rest import RestShape
from heygem.face.topology import lower_rows
from heygem.face.tracking import Track

SIGMA_S = 0.8  # of the Gaussian: several syllables, shorter than a smile
LARGEST = 0.1  # offset of a corner [IOD]
MIN_FRAMES = 12  # below, speech and silence have no mean of their own
MIN_SHARE = 0.05  # of frames with a usable face within the Gaussian; below, it fades out
PART_FRAMES = 1000  # computed at once: canonical meshes of a long video are large

_CORNERS = lower_rows(topo.MOUTH_CORNERS)


def slow_expression(
    track: Track, pose: Pose, rest: RestShape, usable: BoolArray, speaking: BoolArray | None
) -> FloatArray:
    """Slow offset of the mouth corners from where the person usually has them.

    Usually: the mean over the frames of speech, and that over the others, because speech itself
    moves the corners.

    Parameters
    ----------
    track : Track
    pose : Pose
        Of every frame.
    rest : RestShape
    usable : bool [T]
    speaking : bool [T] or None
        Usable frames of speech; None where the sound does not tell.

    Returns
    -------
    float32 [T, 2, 2]
        x and y of the first and last corner in the canonical frame, IOD; 0 far from usable frames.
        It does not reach across cuts.
    """
    offset = np.zeros((len(track), 2, 2), np.float32)
    for start in range(0, len(track), PART_FRAMES):
        part = np.arange(start, min(start + PART_FRAMES, len(track)))
        part = part[usable[part]]
        canonical = to_canonical(track.points[part][:, list(topo.MOUTH_CORNERS)], pose[part])
        offset[part] = (canonical - rest.at(pose[part])[:, _CORNERS])[..., :2]
    spoken = usable & (speaking if speaking is not None else False)
    groups = [spoken, usable & ~spoken]
    if min(group.sum() for group in groups) < MIN_FRAMES:
        groups = [usable]
    for group in groups:
        offset[group] -= offset[group].mean(axis=0)
    rate_hz = mean_rate_hz(track.times_s)
    starts = [0, *(np.flatnonzero(track.cut[1:]) + 1)]
    for start, stop in zip(starts, [*starts[1:], len(track)], strict=True):
        shot = slice(start, stop)
        weights = usable[shot].astype(np.float32)
        share = gaussian_filter1d(weights, SIGMA_S * rate_hz, mode="reflect")[:, None, None]
        smooth = gaussian_filter1d(offset[shot], SIGMA_S * rate_hz, axis=0, mode="reflect")
        offset[shot] = smooth / np.maximum(share, MIN_SHARE)
    return np.clip(offset, -LARGEST, LARGEST)
