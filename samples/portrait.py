"""A still portrait that can be made to sway, blink and open its mouth.

Everything is one backward map from the picture that is drawn to the portrait: a similarity for the
camera, a soft bump for the head in front of its background, and the face mesh, triangle by
triangle, for lids, lips and jaw. Drawn at twice the size and averaged down.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.face import topology as topo
from heygem.rendering.warp import synthetic_interior

_SUPERSAMPLE = 2
_NOSE_BASE = 2  # mesh point above the philtrum
# Eyes from corner to corner, left to right in the picture, along the upper and the lower lid.
_EYES = (
    ([33, 246, 161, 160, 159, 158, 157, 173, 133], [33, 7, 163, 144, 145, 153, 154, 155, 133]),
    ([362, 398, 384, 385, 386, 387, 388, 466, 263], [362, 382, 381, 380, 374, 373, 390, 249, 263]),
)


@dataclass(frozen=True)
class Motion:
    """What one frame shows.

    Attributes
    ----------
    aperture, width : float
        Of the mouth, see `visemes`.
    blink : float, 0..1
    camera : (dx, dy, turn_rad, scale)
        Whole picture, portrait pixels.
    head : (dx, dy, turn_rad, yaw, nod)
        Head against background; yaw and nod in pixels at the nose.
    """

    aperture: float
    width: float
    blink: float = 0.0
    camera: tuple = (0.0, 0.0, 0.0, 1.0)
    head: tuple = (0.0, 0.0, 0.0, 0.0, 0.0)


def _smoothstep(low, high, x):
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class Portrait:
    """A portrait with its mesh.

    Parameters
    ----------
    image : uint8 [H, W, 3], RGB
    points : float32 [468, 3]
        Mesh in pixels of `image`.
    window : (x0, y0, x1, y1)
        Part of the portrait that is shown, pixels.
    scale : float
        Output pixels per portrait pixel.
    seam : float [n, 2], optional
        Where closed lips meet, from the picture's left to right. The mesh model is up to two
        pixels off there, and lips must part exactly where they meet.
    """

    def __init__(self, image, points, *, window, scale, seam=None):
        self.image = image
        self.window, self.scale = window, scale
        self.width = round((window[2] - window[0]) * scale / 2) * 2
        self.height = round((window[3] - window[1]) * scale / 2) * 2
        self.depth = points[:, 2].astype(float)
        self.points = points[:, :2].astype(float)
        if seam is not None:
            self._snap(np.asarray(seam, float))
        right, left = self.points[list(topo.EYE_OUTER)]
        self.eye_px = float(np.linalg.norm(left - right))
        self._outline()
        self._mouth_frame()
        self.lidded = self._closed_eyes()
        # As photographed: the upper lip is then where the teeth below it were drawn or taken from.
        self.rest_aperture = float(np.interp(0, self.upper_line[:, 0], self._ring_gap()))
        self.rest_aperture *= self.half / self.eye_px
        self.own_teeth = seam is None
        self.texture = self._interior()

    def _snap(self, seam):
        """Shut the mesh's inner lips on the seam; what lies around follows less and less."""
        before = self.points.copy()
        ring = topo.LIPS_INNER
        share = (before[ring, 0] - before[78, 0]) / (before[308, 0] - before[78, 0])
        x = seam[0, 0] + share * (seam[-1, 0] - seam[0, 0])
        moved = np.stack([x, np.interp(x, *seam.T)], 1) - before[ring]
        span = np.ptp(before[ring, 0])
        distance = np.linalg.norm(before[:, None] - before[None, ring], axis=2)
        near = np.exp(-((distance / (0.10 * span)) ** 2)) + 1e-12
        follow = np.exp(-((distance.min(1) / (0.22 * span)) ** 2))
        self.points += follow[:, None] * (near @ moved) / near.sum(1, keepdims=True)
        self.points[ring] = before[ring] + moved

    def _outline(self):
        """Add a ring outside the face that stays put, so that the jaw can move over the neck."""
        oval = topo.FACE_OVAL
        centre = self.points[oval].mean(0)
        outside = centre + 1.28 * (self.points[oval] - centre)
        self.source = np.vstack([self.points, outside])
        n, first = len(oval), topo.POINTS
        strip = []
        for i in range(n):
            j = (i + 1) % n
            strip += [(oval[i], oval[j], first + i), (oval[j], first + j, first + i)]
        self.triangles = np.vstack([topo.TRIANGLES, np.array(strip)])

    def _mouth_frame(self):
        p = self.points
        self.mouth_left, self.mouth_right = p[topo.INNER_UPPER[[0, -1]]]
        self.half = np.linalg.norm(self.mouth_right - self.mouth_left) / 2
        self.along = (self.mouth_right - self.mouth_left) / (2 * self.half)
        self.down = np.array([-self.along[1], self.along[0]])
        self.middle = (self.mouth_left + self.mouth_right) / 2
        self.flat = (p - self.middle) @ np.stack([self.along, self.down], 1) / self.half  # [468, 2]
        at = self.flat
        self.upper_line = at[topo.INNER_UPPER]
        self.lower_line = at[topo.INNER_LOWER]
        x = at[:, 0]
        self.upper_y = np.interp(x, *self.upper_line.T)
        self.lower_y = np.interp(x, *self.lower_line.T)
        seam_y = (self.upper_y + self.lower_y) / 2
        self.is_lower = at[:, 1] > seam_y
        # With closed lips the two rings lie on one line: topology must say which is which.
        self.is_lower[topo.INNER_UPPER] = False
        self.is_lower[topo.INNER_LOWER[1:-1]] = True
        self.gap = np.maximum(self.lower_y - self.upper_y, 0)

    def _interior(self):
        """The inside of the mouth, at full opening, in output pixels."""
        width = round(2 * self.half * self.scale)
        height = round(width * synthetic_interior.HEIGHT_OVER_WIDTH)

        def colour(at, reach=3):
            x, y = np.round(at).astype(int)
            patch = self.image[y - reach : y + reach + 1, x - reach : x + reach + 1]
            return np.median(patch.reshape(-1, 3), 0)

        skin = np.median([colour(self.points[i]) for i in (50, 280, 187, 411)], 0)
        self.lip_rgb = lip = colour(self.points[17] * 0.4 + self.points[14] * 0.6, 1)
        interior = synthetic_interior.draw(
            width,
            height,
            skin_rgb=skin,
            lip_rgb=lip,
            blur_px=0.5 * self.scale,
            teeth=0.0 if self.own_teeth else 0.9,
            lip_shadow=False,
        )
        if not self.own_teeth:
            return interior
        # The portrait's own teeth, unrolled from the upper lip downwards.
        x = (np.arange(width) + 0.5) / width * 2 - 1
        upper = np.interp(x, *self.upper_line.T)
        gap = np.interp(x, *self.lower_line.T) - upper
        down = (np.arange(height) + 0.5) / self.scale  # portrait pixels below the upper lip
        place = self.middle + self.half * (
            x[None, :, None] * self.along + upper[None, :, None] * self.down
        )
        place = place + down[:, None, None] * self.down
        own = cv2.remap(
            self.image, place.astype(np.float32), None, cv2.INTER_LANCZOS4
        ).astype(np.float32)  # fmt: skip
        edge = gap * self.half  # where the lower lip covers them
        opacity = 1 - _smoothstep(edge[None] - 1.2, edge[None] - 0.2, down[:, None])
        opacity *= _smoothstep(1.5, 4.0, edge)[None]
        out = interior + (own - interior) * opacity[..., None]
        return np.clip(out, 0, 255).astype(np.uint8)

    def _mouth(self, aperture, width):
        """Mesh with the wanted mouth : float [468, 2], portrait pixels."""
        x, y = self.flat.T
        gap_px = aperture * self.eye_px
        profile = np.clip(1 - np.abs(x) ** 2.4, 0, 1) ** 0.8
        change = gap_px / self.half * profile - self.gap * (np.abs(x) < 1)
        middle_change = gap_px / self.half - np.interp(0, x[topo.INNER_UPPER], self._ring_gap())
        opening = middle_change > 0
        lift = 0.16 if opening else 0.38  # the upper lip's share
        below = np.maximum(y - self.lower_y, 0)
        above = np.maximum(self.upper_y - y, 0)
        jaw = (1 - lift) * middle_change
        towards_chin = _smoothstep(0.15, 1.1, below)
        chin = 0.78 * jaw * np.exp(-((x / 1.7) ** 2))
        drop = (1 - towards_chin) * (1 - lift) * change + towards_chin * chin
        nose = self.upper_y[_NOSE_BASE] - self.flat[_NOSE_BASE, 1]
        rise = -lift * change * (1 - _smoothstep(0.1 * nose, 0.95 * nose, above))
        dy = np.where(self.is_lower, drop, rise)
        # Corners give way a little, and the cheeks with them.
        corner = np.exp(-(((np.abs(x) - 1) / 0.45) ** 2) - (y / 0.6) ** 2)
        dy += 0.16 * jaw * corner
        pull = np.where(np.abs(x) <= 1, x, np.sign(x) * np.exp(-(((np.abs(x) - 1) / 0.55) ** 2)))
        dx = (width - 1 - 0.10 * max(middle_change, 0)) * pull * np.exp(-((y / 0.75) ** 2))
        # Rounded lips are thicker.
        pucker = max(1 - width, 0) * 0.9
        lips = np.exp(-((x / 0.8) ** 2))
        dy += pucker * lips * np.where(
            self.is_lower, np.minimum(below, 0.35), -np.minimum(above, 0.35)
        ) * np.exp(-((np.maximum(above, below) / 0.55) ** 2))  # fmt: skip
        moved = self.half * (dx[:, None] * self.along + dy[:, None] * self.down)
        return self.points + moved

    def _ring_gap(self):
        return self.lower_line[:, 1] - self.upper_line[:, 1]

    def _head_field(self, at, head):
        """Displacement of the head at portrait positions `float [..., 2]`."""
        dx, dy, turn, yaw, nod = head
        oval = self.points[topo.FACE_OVAL]
        low, high = oval.min(0), oval.max(0)
        centre, radius = (low + high) / 2, (high - low) / 2
        pivot = np.array([centre[0], high[1] + 0.15 * radius[1]])
        radius = radius * [1.35, 1.25]
        centre = centre - [0, 0.18 * radius[1]]  # hair and cap belong to the head
        distance = np.sqrt((((at - centre) / radius) ** 2).sum(-1))
        whole = 1 - _smoothstep(0.75, 1.9, distance)
        depth = (1 - np.clip(distance / 1.25, 0, 1) ** 2) ** 2
        rel = at - pivot
        # The neck does not travel with the head: the turn about the pivot fades below it.
        move_x = whole * (dx - turn * rel[..., 1]) + depth * yaw
        move_y = whole * (dy + turn * rel[..., 0]) + depth * nod
        return np.stack([move_x, move_y], -1)

    def _camera(self, camera):
        """Portrait to output pixels: float [2, 3]."""
        dx, dy, turn, zoom = camera
        x0, y0, x1, y1 = self.window
        c, s = np.cos(turn) * zoom * self.scale, np.sin(turn) * zoom * self.scale
        linear = np.array([[c, -s], [s, c]])
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        target = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        shift = target + self.scale * np.array([dx, dy]) - linear @ centre
        return np.column_stack([linear, shift])

    def mesh(self, motion):
        """The mesh in output pixels : float [468 + ring, 2]."""
        points = self._mouth(motion.aperture, motion.width)
        rest = np.vstack([points, self.source[topo.POINTS :]])
        moved = rest
        for _ in range(4):  # inverse of `at - field(at)`
            moved = rest + self._head_field(moved, motion.head)
        camera = self._camera(motion.camera)
        return moved @ camera[:, :2].T + camera[:, 2]

    def draw(self, motion):
        """One frame : uint8 [height, width, 3], RGB."""
        ss = _SUPERSAMPLE
        mesh = (self.mesh(motion) + 0.5) * ss - 0.5
        back = cv2.invertAffineTransform(self._camera(motion.camera))
        y, x = np.mgrid[0 : self.height * ss, 0 : self.width * ss].astype(np.float64)
        out = np.stack([x, y], -1) / ss + (0.5 / ss - 0.5)
        at = out @ back[:, :2].T + back[:, 2]
        at -= self._head_field(at, motion.head)
        self._face(at, mesh)
        frame = cv2.remap(
            self.image, at.astype(np.float32), None, cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.float32)  # fmt: skip
        self._inside(frame, mesh, self._resting(motion))
        if motion.blink > 0:
            self._lids(frame, at, mesh, motion.blink)
        frame = cv2.resize(frame, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.clip(np.round(frame), 0, 255).astype(np.uint8)

    def _face(self, at, mesh):
        """Replace the map by the mesh's where there is mesh."""
        low = np.maximum(np.floor(mesh.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(mesh.max(0)).astype(int) + 1, [at.shape[1], at.shape[0]])
        label = np.full((high - low)[::-1], -1, np.int32)
        affine = np.zeros((len(self.triangles), 2, 3))
        local = mesh - low
        for k, t in enumerate(self.triangles):
            corner = local[t].astype(np.float32)
            cv2.fillConvexPoly(label, np.round(corner * 16).astype(np.int32), k, cv2.LINE_8, 4)
            affine[k] = cv2.getAffineTransform(corner, self.source[t].astype(np.float32))
        y, x = np.nonzero(label >= 0)
        a = affine[label[y, x]]  # [n, 2, 3]
        at[y + low[1], x + low[0]] = a[:, :, 0] * x[:, None] + a[:, :, 1] * y[:, None] + a[:, :, 2]

    def _resting(self, motion):
        """The upper lip's inner line at rest, in the drawn frame: where the teeth stay."""
        quiet = Motion(self.rest_aperture, 1.0, 0.0, motion.camera, motion.head)
        return (self.mesh(quiet)[topo.INNER_UPPER] + 0.5) * _SUPERSAMPLE - 0.5

    def _inside(self, frame, mesh, resting):
        """Show the inside of the mouth between the inner lips."""
        ring = mesh[topo.LIPS_INNER]
        low = np.floor(ring.min(0)).astype(int) - 4
        high = np.ceil(ring.max(0)).astype(int) + 5
        mask = np.zeros((high - low)[::-1], np.uint8)
        corners = np.round((ring - low) * 16).astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.45 * _SUPERSAMPLE).astype(np.float32) / 255
        left, right = mesh[topo.INNER_UPPER[0]], mesh[topo.INNER_UPPER[-1]]
        length = np.linalg.norm(right - left)
        along = (right - left) / length
        axes = np.stack([along, [-along[1], along[0]]], 1)
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        flat = (np.stack([x, y], -1) - left) @ axes
        upper, lower, teeth = (
            (line - left) @ axes for line in (ring[:11], mesh[topo.INNER_LOWER], resting)
        )
        # Photographed teeth were unrolled from the lip; drawn ones stand on an even arc, however
        # the lip above them is drawn.
        top = np.interp(flat[..., 0], *teeth.T)
        if not self.own_teeth:
            top = np.polynomial.Polynomial.fit(*teeth.T, 2)(flat[..., 0])
        unit = self.texture.shape[0] * _SUPERSAMPLE
        # Photographed teeth bring the lip's shadow along; all they need is a soft edge.
        nearer = 10.0 if self.own_teeth else 1.0
        below = (flat[..., 1] - np.interp(flat[..., 0], *upper.T)) / unit
        above = (np.interp(flat[..., 0], *lower.T) - flat[..., 1]) / unit
        depth = (flat[..., 1] - top) / unit
        inside = synthetic_interior.fill(
            self.texture,
            (flat[..., 0] - teeth[0, 0]) / (teeth[-1, 0] - teeth[0, 0]),
            np.maximum(depth, 0),
            np.maximum(above, 0),
            below_upper=np.maximum(below, 0) * nearer,
            lip_rgb=self.lip_rgb,
        )
        part = frame[low[1] : high[1], low[0] : high[0]]
        part += (inside - part) * mask[..., None]

    def _closed_eyes(self):
        """The portrait with skin where the eyes are: grown in from around, with grain."""
        mask = np.zeros(self.image.shape[:2], np.uint8)
        for upper, lower in _EYES:
            up, low = self.points[upper], self.points[lower]
            tall = (low[:, 1] - up[:, 1]).max()
            ring = np.vstack([up - [0, 0.30 * tall], low[::-1] + [0, 0.12 * tall]])
            cv2.fillPoly(mask, [np.round(ring * 16).astype(np.int32)], 255, shift=4)
            reach = max(1, round(0.18 * tall))
            mask = cv2.dilate(mask, np.ones((1, 2 * reach + 1), np.uint8))
        skin = cv2.inpaint(self.image, mask, 3, cv2.INPAINT_TELEA).astype(np.float32)
        skin = np.where(mask[..., None] > 0, cv2.GaussianBlur(skin, (0, 0), 1.0), skin)
        grain = np.random.default_rng(0).normal(0, 1, self.image.shape[:2])
        grain = cv2.GaussianBlur(grain, (0, 0), 0.7)
        skin += (grain / grain.std() * 3.0 * (mask > 0))[..., None]
        return np.clip(skin, 0, 255).astype(np.uint8)

    def _lids(self, frame, at, mesh, closed):
        """Draw the upper lids down to a moving edge, with lashes on it."""
        for upper, lower in _EYES:
            up, low = mesh[upper], mesh[lower]
            tall = (low[:, 1] - up[:, 1]).max()
            x0, x1 = int(np.floor(up[0, 0])), int(np.ceil(up[-1, 0]))
            x = np.arange(x0, x1 + 1)
            rest, bottom = (np.interp(x, *line.T) for line in (up, low))
            # Closed lids meet low, on a flatter line than the lower lid's own.
            chord = np.interp(x, [up[0, 0], up[-1, 0]], [up[0, 1], up[-1, 1]])
            meet = 0.80 * bottom + 0.20 * chord
            edge = rest + closed * (meet - rest)
            top = rest - 0.34 * tall
            y0, y1 = int(top.min()) - 2, int(bottom.max() + 0.25 * tall) + 3
            y = np.arange(y0, y1)[:, None]
            lid = cv2.remap(
                self.lidded, at[y0:y1, x0 : x1 + 1].astype(np.float32), None, cv2.INTER_CUBIC
            ).astype(np.float32)  # fmt: skip
            # An eyeball is under it: darker in the fold above and at the edge below.
            fall = np.clip((y - rest) / np.maximum(meet - rest, 1), -0.5, 1)
            lid *= (0.94 + 0.10 * np.sin(np.pi * np.clip(fall, 0, 1)) - 0.07 * fall**4)[..., None]
            opacity = min(1, 3 * closed)
            ends = _smoothstep(0, 0.14, np.minimum(x - x0, x1 - x) / (x1 - x0)) * opacity
            # Below the edge the eye stays, unless the lids have met.
            under = 1 - _smoothstep(edge - 0.06 * tall, edge + 0.06 * tall, y)
            under = np.maximum(under, _smoothstep(0.85, 1.0, closed))
            soft = _smoothstep(top, top + 0.22 * tall, y) * (
                1 - _smoothstep(bottom, bottom + 0.15 * tall, y)
            )
            part = frame[y0:y1, x0 : x1 + 1]
            part += (lid - part) * (under * soft * ends)[..., None]
            thick = 0.09 * tall + 0.6
            lash = np.exp(-(((y - edge) / thick) ** 2)) * 0.75 * ends
            part += (lid * [0.36, 0.27, 0.24] - part) * lash[..., None]
