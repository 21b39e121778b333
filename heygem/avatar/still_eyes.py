"""The eyes of a still portrait: lids that close, and a gaze that moves.

An eye is drawn in two layers. The eye itself stays where it is, but for the iris, which moves a
little between the corners. Over it come the lids: the skin above the upper one is stretched down,
with the lashes at its edge, the skin below the lower one a little up. Behind glasses the lids stay
open: the skin that would be stretched has a rim across it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.core.types import FloatArray, Image

# The edges of the upper and the lower lid, from the corner at the picture's left to the other one,
# and the lower edge of the brow.
_CONTOURS = (
    (
        [33, 246, 161, 160, 159, 158, 157, 173, 133],
        [33, 7, 163, 144, 145, 153, 154, 155, 133],
        [46, 53, 52, 65, 55],
    ),
    (
        [362, 398, 384, 385, 386, 387, 388, 466, 263],
        [362, 382, 381, 380, 374, 373, 390, 249, 263],
        [285, 295, 282, 283, 276],
    ),
)
UPPER_SHARE = 0.88  # of the way between the lids, which the upper one goes
# In eye widths:
LOWER_SKIN = 0.35  # below the lower lid, which is stretched
LASHES = 0.1  # strip at the edge of a lid that moves without being stretched
RIMS = (0.03, 0.02)  # by which the lids' edges in the mesh lie within the eye
BROW_SHARE = 0.9  # of the skin between lid and brow, which is stretched; the brow stays
STEEPEST = 0.85  # change of the skin's shift from row to row; from 1 on it would fold
SOFT_PX = 0.8  # edge of a lid
EYEBALL_IOD = 0.13  # radius, by which a turn of the gaze moves the iris
INNER_CORNERS = (133, 362)
BRIDGE_ROWS, BRIDGE_COLUMNS = 48, 24  # at which the skin between the eyes is looked at
#: Steepest step between rows of the bridge, over its brightness and a tenth of its height. It found
#: 14 of 16 people with glasses, and took one of 79 others for one of them.
GLASSES_STEP = 0.33


@dataclass(frozen=True)
class Eye:
    """One eye, with a place for each pixel of a window in its own axes.

    Attributes
    ----------
    x, y : int
        The window's first column and row in the picture.
    u, v : float32 [h, w]
        Place of each pixel, in eye widths: along the line of the corners, from the left one, and
        down from it.
    upper, lower : float32 [h, w]
        Edges of the open lids in the column of each pixel, v.
    skin : float
        Between the upper lid and the brow, in eye widths.
    axes : float32 [2, 2]
        Directions of u and v in the picture, pixels for an eye width.
    radius : float
        Of the eyeball, in eye widths.
    """

    x: int
    y: int
    u: FloatArray
    v: FloatArray
    upper: FloatArray
    lower: FloatArray
    skin: float
    axes: FloatArray
    radius: float

    def draw(self, image: Image, closed: float, gaze: FloatArray) -> None:
        """Draw the eye into the picture, in place.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB
        closed : float
            How far the lids are closed, 0..1.
        gaze : float [2]
            Turn of the eye to the picture's right and down, radians.
        """
        opening = closed * (self.lower - self.upper)
        down, up = UPPER_SHARE * opening, (1 - UPPER_SHARE) * opening
        upper, lower = self.upper + down, self.lower - up
        skin = down * _share(upper - self.v, self.skin, down)
        skin -= up * _share(self.v - lower, LOWER_SKIN, up)
        lids = self._sample(image, np.zeros_like(skin), skin)
        moves = self.radius * np.clip(2 - 4 * np.abs(self.u - 0.5), 0, 1)
        eye = self._sample(image, moves * gaze[0], moves * gaze[1])
        soft = SOFT_PX / float(np.linalg.norm(self.axes[1]))
        inside = np.clip(np.minimum(self.v - upper, lower - self.v) / soft + 0.5, 0, 1)
        mixed = lids + inside[..., None] * (eye - lids)
        h, w = self.u.shape
        image[self.y : self.y + h, self.x : self.x + w] = np.clip(np.rint(mixed), 0, 255)

    def _sample(self, image: Image, du: FloatArray, dv: FloatArray) -> FloatArray:
        """The picture's pixels from `du`, `dv` eye widths before each place : float32 [h, w, 3]."""
        h, w = self.u.shape
        dx, dy = (self.axes[0, i] * du + self.axes[1, i] * dv for i in (0, 1))
        x = np.asarray(self.x + np.arange(w) - dx, np.float32)
        y = np.asarray(self.y + np.arange(h)[:, None] - dy, np.float32)
        pixels = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return pixels.astype(np.float32)


def find_eyes(points: FloatArray, iod_px: float, size: tuple[int, int]) -> tuple[Eye, ...]:
    """The eyes of a mesh.

    Parameters
    ----------
    points : float32 [468, 3], pixels
    iod_px : float
        Distance of the outer eye corners.
    size : (int, int)
        Width and height of the picture.
    """
    return tuple(_eye(points[:, :2], *contours, iod_px, size) for contours in _CONTOURS)


def _eye(
    points: FloatArray,
    upper: list[int],
    lower: list[int],
    brow: list[int],
    iod_px: float,
    size: tuple[int, int],
) -> Eye:
    first, last = points[upper[0]], points[upper[-1]]
    along = last - first
    axes = np.stack([along, [-along[1], along[0]]]).astype(np.float32)
    from_picture = np.linalg.inv(axes)
    edges = [(points[contour] - first) @ from_picture for contour in (upper, lower, brow)]
    corners = np.array([[-0.05, -0.8], [1.05, -0.8], [-0.05, 0.7], [1.05, 0.7]]) @ axes + first
    x0, y0 = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(0)) + 1, size).astype(int)
    picture = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1)
    u, v = np.moveaxis((picture - first) @ from_picture, -1, 0).astype(np.float32)
    above, below, hair = (np.interp(u, edge[:, 0], edge[:, 1]) for edge in edges)
    middle = np.abs(u - 0.5) < 0.3
    skin = BROW_SHARE * float(np.median((above - hair)[middle])) if middle.any() else 0.0
    bulge = np.clip(4 * u * (1 - u), 0, 1)  # none at the corners
    above, below = above - RIMS[0] * bulge, np.maximum(above, below) + RIMS[1] * bulge
    width = float(np.linalg.norm(along))
    return Eye(
        int(x0),
        int(y0),
        u,
        v,
        above.astype(np.float32),
        below.astype(np.float32),
        max(2 * LASHES, skin),
        axes,
        EYEBALL_IOD * iod_px / width,
    )


def _share(distance: FloatArray, reach: float, shift: FloatArray) -> FloatArray:
    """How far skin outside of a lid's edge goes with it, 0..1; 0 within the eye.

    Parameters
    ----------
    distance : float32 [h, w]
        From the edge of the lid, in eye widths; negative within the eye.
    reach : float
        Skin that is stretched.
    shift : float32 [h, w]
        Of the edge.
    """
    stretched = reach + shift - LASHES
    farthest = max(float(shift.max()), 1e-6)
    power = np.clip(STEEPEST * (reach + farthest - LASHES) / farthest, 1, 2)
    share = np.clip(1 - (distance - LASHES) / stretched, 0, 1) ** power
    return np.where(distance >= 0, share, 0)


def wears_glasses(image: Image, points: FloatArray, iod_px: float) -> bool:
    """Whether something like a bridge of glasses crosses the nose between the eyes.

    Parameters
    ----------
    image : uint8 [H, W, 3], RGB
    points : float32 [468, 3], pixels
    iod_px : float
        Distance of the outer eye corners.
    """
    right, left = points[list(INNER_CORNERS), :2]
    across = left - right
    down = np.array([-across[1], across[0]]) / max(float(np.linalg.norm(across)), 1e-6) * iod_px
    u = np.linspace(-0.28, 0.28, BRIDGE_COLUMNS)[None, :, None] * across
    v = np.linspace(-0.28, 0.22, BRIDGE_ROWS)[:, None, None] * down
    x, y = np.moveaxis((right + left) / 2 + u + v, -1, 0).astype(np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), max(0.5, 0.006 * iod_px))
    grey = cv2.cvtColor(smooth, cv2.COLOR_RGB2GRAY).astype(np.float32)
    bridge = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steps = np.abs(np.diff(bridge.mean(1))) / max(float(np.median(bridge)), 1.0)
    return bool(steps.max() * BRIDGE_ROWS / 10 > GLASSES_STEP)
