"""Selection of the avatar's own mouth picture that gives each frame its texture."""

import cv2
import numpy as np

from heygem.avatar.library import MouthLibrary, lip_features
from heygem.config.params import RendererSettings
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.face import topology as topo
from heygem.face.pose import to_canonical
from heygem.face.topology import LOWER
from heygem.rendering.warp import kernels
from heygem.rendering.warp.mesh_warp import bounds

# Costs are in units in which a visible change of texture costs about one.
SHAPE = 1500.0  # per squared IOD: a lip that is 0.025 IOD off
TURN_DEG = 12.0
OTHER_SHOT = 1.5
ONE_MOVEMENT = 3  # frames of the person's video that are near enough to need no fade
CROSSFADE = np.array([0.25, 0.5, 0.25])  # weights of a texture change, frames

_ROW = {i: k for k, i in enumerate(LOWER)}
_MIDDLE_UPPER, _MIDDLE_LOWER = (_ROW[i] for i in topo.LIP_MIDDLE)


class TextureSelector:
    """Chooses pictures from a library by shape, pose and steadiness.

    Parameters
    ----------
    library : MouthLibrary
    settings : RendererSettings
    """

    def __init__(self, library: MouthLibrary, settings: RendererSettings) -> None:
        self._settings = settings
        self._frames = library.frames
        shape = to_canonical(library.points[:, LOWER], library.pose)
        self._features = lip_features(shape)  # [N, F]
        self._angles = library.pose.angles_deg  # [N, 3]
        self._gap = shape[:, _MIDDLE_LOWER, 1] - shape[:, _MIDDLE_UPPER, 1]
        self._parted = _parted(library)  # [N]
        self._change = _appearance_change(library)  # [N, N]

    def choose(
        self,
        features: FloatArray,
        angles: FloatArray,
        at: IntArray,
        cut: BoolArray,
        shot: IntArray,
        shots: IntArray,
    ) -> list[list[tuple[int, float]]]:
        """Pick pictures for a whole sequence by one shortest path (Viterbi).

        Parameters
        ----------
        features : float32 [n, F]
            Target lip shapes, from `lip_features`.
        angles : float32 [n, 3]
            Head poses, degrees.
        at : int [n]
            Output frames they belong to; a gap in them starts a new path.
        cut : bool [T]
            Output frames that begin a new shot.
        shot : int [n]
            Shot of the person's video that each frame stands in.
        shots : int [frames of the video]
            Shot of every frame of that video: make-up and light may differ between them.

        Returns
        -------
        list of n lists of (int, float)
            Pictures of the library and their weights, heaviest first.
        """
        texture_shot = np.where(self._frames < 0, -1, shots[np.maximum(self._frames, 0)])
        path = self._shortest_path(features, angles, at, shot, texture_shot)
        return self._crossfades(path, at, cut)

    def _shortest_path(
        self,
        features: FloatArray,
        angles: FloatArray,
        at: IntArray,
        shot: IntArray,
        texture_shot: IntArray,
    ) -> IntArray:
        """Viterbi: the library picture for each frame; int [len(at)]."""
        s = self._settings
        n = len(self._features)
        if n == 1:
            return np.zeros(len(at), int)
        gap = features[:, -2] / 2
        move = s.continuity_weight * self._change
        best: FloatArray | None = None
        back = np.empty((len(at), n), np.int16)
        for k in range(len(at)):
            raise_if_cancelled()
            shape = ((self._features - features[k]) ** 2).sum(1) * SHAPE
            turn = (((self._angles - angles[k]) / TURN_DEG) ** 2).sum(1) * s.pose_weight
            # Too small an interior has to be stretched; too large a one is only covered.
            lack = np.maximum(gap[k] - self._gap - 0.01, 0) * 12
            # A shut mouth needs lips that really meet; the mesh alone does not show it.
            shut = np.clip(1 - gap[k] / 0.03, 0, 1)
            cost = shape + turn + lack + 10 * shut * self._parted
            cost = cost + OTHER_SHOT * (texture_shot != shot[k])
            if best is None or at[k] != at[k - 1] + 1:
                back[k] = np.arange(n) if best is None else int(np.argmin(best))
                best = cost + (0 if best is None else best.min())
                continue
            best = kernels.cheapest_moves(best, move, back[k]) + cost
            best -= best.min()
        path = np.empty(len(at), int)
        assert best is not None  # `at` is not empty
        path[-1] = int(best.argmin())
        for k in range(len(at) - 1, 0, -1):
            path[k - 1] = back[k, path[k]]
        return path

    def _crossfades(
        self, path: IntArray, at: IntArray, cut: BoolArray
    ) -> list[list[tuple[int, float]]]:
        """Library images and their weights for each frame: [(pick, weight), ...].

        Only a jump is faded over: neighbouring pictures of one movement would blur each other.
        """
        half = len(CROSSFADE) // 2
        result = []
        for k in range(len(path)):
            weights: dict[int, float] = {}
            for d, weight in zip(range(-half, half + 1), CROSSFADE, strict=True):
                j = min(max(k + d, 0), len(path) - 1)
                low, high = min(at[j], at[k]), max(at[j], at[k])
                apart = abs(int(self._frames[path[j]]) - int(self._frames[path[k]]))
                if apart <= ONE_MOVEMENT or high - low > half or cut[low + 1 : high + 1].any():
                    j = k
                weights[path[j]] = weights.get(path[j], 0) + weight
            result.append(sorted(weights.items(), key=lambda w: -w[1]))
        return result


def _parted(library: MouthLibrary) -> FloatArray:
    """How much the seam of each library mouth differs from lip colour : float32 [N], best is 0.

    The mesh shows lips as shut that are a few pixels apart; a dark slit or teeth tell them apart.
    """
    values = []
    for crop, mesh, scale in zip(library.crops, library.points, library.pose.scale, strict=True):
        x0, y0, x1, y1 = bounds(mesh[topo.LIPS_OUTER, :2], 0.05 * scale, crop.shape)
        grey = cv2.cvtColor(crop[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY).astype(np.float32)
        points = mesh[:, :2] - np.array([x0, y0], np.float32)
        seam = (points[topo.INNER_UPPER[2:9]] + points[topo.INNER_LOWER[2:9]]) / 2  # [7, 2]
        reach = np.linspace(-0.02, 0.02, 9) * scale
        x = np.repeat(seam[:, 0], len(reach)).astype(np.float32)
        y = (seam[:, 1][:, None] + reach).reshape(-1).astype(np.float32)
        strip = cv2.remap(grey, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lips = (points[[0, 37, 267, 17, 84, 314]] + points[[13, 82, 312, 14, 87, 317]]) / 2
        lips = lips.astype(np.float32)
        tone = np.median(cv2.remap(grey, lips[None, :, 0], lips[None, :, 1], cv2.INTER_LINEAR))
        strip = strip.reshape(len(seam), len(reach))
        # The worst across the seam, since a thin bright edge of teeth is nothing in the mean; and
        # what changes along it: teeth and spit do, the shadow between two lips does not.
        across = np.abs(strip - tone).max(1).mean()
        along = np.abs(np.diff(strip, axis=0)).mean()
        values.append((across + along) / max(float(tone), 1.0))
    parted = np.array(values, np.float32)
    return np.maximum(parted - np.quantile(parted, 0.05), 0)


def _appearance_change(library: MouthLibrary) -> FloatArray:
    """Cost of going from one library picture to another : float32 [N, N], 0 on the diagonal."""
    thumbnails = []
    for crop, mesh, scale in zip(library.crops, library.points, library.pose.scale, strict=True):
        lips = mesh[topo.LIPS_OUTER, :2]
        x0, y0, x1, y1 = bounds(lips, 0.2 * scale, crop.shape)
        small = cv2.resize(crop[y0:y1, x0:x1], (12, 10), interpolation=cv2.INTER_AREA)
        thumbnails.append(small.reshape(-1).astype(np.float32) / 255)
    thumbs = np.array(thumbnails)
    squares = (thumbs**2).sum(1)
    distance = np.maximum(squares[:, None] + squares - 2 * thumbs @ thumbs.T, 0) / thumbs.shape[1]
    change = 0.15 + 60 * distance
    # The next picture of the same moment is no change at all.
    near = np.abs(library.frames[:, None] - library.frames[None])
    change = np.where(near <= 2, change * 0.3, change)
    np.fill_diagonal(change, 0)
    return change.astype(np.float32)
