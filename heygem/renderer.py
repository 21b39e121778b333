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

from dataclasses import dataclass

import cv2
import numpy as np

from heygem import interior
from heygem.avatar import lip_features
from heygem.face import geometry
from heygem.face import topology as topo
from heygem.face.geometry import LOWER, LOWER_WEIGHT

RIM = 0.42  # how far beyond the jaw the warp fades out [eye distances]
LIP_MARGIN = 0.12  # skin around the lips that comes along with them [eye distances]
FADE_S = 0.12  # time over which the mouth is handed over at frames left untouched
ONE_MOVEMENT = 3  # frames of the person's video that are near enough to need no fade
CROSSFADE = np.array([0.25, 0.5, 0.25])  # weights of a texture change, frames
DRAWN_WIDTH_PX = 320  # resolution of a drawn inside

_PLACE = {i: k for k, i in enumerate(LOWER)}
_LIP_ROWS = np.array([_PLACE[i] for i in np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])])
_UP = np.array([_PLACE[i] for i in topo.INNER_UPPER])
_LOW = np.array([_PLACE[i] for i in topo.INNER_LOWER])


@dataclass(frozen=True)
class Patch:
    """New pixels for a window of the frame.

    Attributes
    ----------
    image : uint8 [h, w, 3], RGB
    mask : float32 [h, w]
        0 keeps the frame's own pixel, 1 takes the patch's.
    x, y : int
        Position of the window's first pixel in the frame.
    """

    image: np.ndarray
    mask: np.ndarray
    x: int
    y: int


def _mesh_topology():
    """Triangles that can move, over the 468 points and a fixed rim around the jaw.

    Rim point 468 + k stands outside jaw point k of `topo.JAW`.
    """
    moving = set(LOWER.tolist())
    inside = [t for t in topo.TRIANGLES.tolist() if moving & set(t)]
    jaw = topo.JAW.tolist()
    strip = []
    for k in range(len(jaw) - 1):
        if not moving & {jaw[k], jaw[k + 1]}:
            continue
        strip.append([jaw[k], jaw[k + 1], topo.POINTS + k])
        strip.append([jaw[k + 1], topo.POINTS + k + 1, topo.POINTS + k])
    return np.array(inside + strip, np.int32)


_TRIANGLES = _mesh_topology()


def _with_rim(points, scale):
    """Add the rim to meshes: `float32 [468, 2]` pixels to `[468 + len(JAW), 2]`."""
    centre = points[topo.LIPS_OUTER].mean(0)
    jaw = points[topo.JAW]
    away = jaw - centre
    away = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    return np.concatenate([points, jaw + RIM * scale * away]).astype(np.float32)


class Sampler:
    """Bicubic sampling of a picture at given places, on the GPU when there is one."""

    def __init__(self, device="cpu"):
        self.device = str(device)

    def __call__(self, image, map_x, map_y):
        """`image` uint8 [H, W, 3] at `map_x`, `map_y` float32 [h, w] -> uint8 [h, w, 3]."""
        if self.device == "cpu":
            return cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        import torch

        h, w = image.shape[:2]
        grid = np.stack([map_x * (2 / max(w - 1, 1)) - 1, map_y * (2 / max(h - 1, 1)) - 1], -1)
        with torch.no_grad():
            pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
            out = torch.nn.functional.grid_sample(
                pixels.permute(2, 0, 1)[None].float(),  # [1, 3, H, W]
                torch.from_numpy(grid.astype(np.float32)).to(self.device)[None],
                mode="bicubic",
                padding_mode="border",
                align_corners=True,
            )
            out = out[0].permute(1, 2, 0).round().clamp(0, 255).byte()
        return out.cpu().numpy()


class Renderer:
    """Draws one avatar's mouth.

    Parameters
    ----------
    avatar : heygem.avatar.Avatar
    settings : heygem.params.RendererSettings
    device : str
        "cpu" or a torch device.
    """

    def __init__(self, avatar, settings, device="cpu"):
        self._avatar = avatar
        self._settings = settings
        self._sample = Sampler(device)
        lib = avatar.library
        pose = avatar.pose[lib.frames]
        shape = geometry.to_canonical(avatar.track.points[lib.frames][:, LOWER], pose)
        self._lib_features = lip_features(shape)  # [N, F]
        self._lib_angles = pose.angles_deg  # [N, 3]
        self._lib_gap = shape[:, _LOW[5], 1] - shape[:, _UP[5], 1]
        self._lib_parted = _parted(avatar)  # [N]
        self._lib_change = _appearance_change(avatar)  # [N, N]
        self._strength = _hand_over(avatar)
        self._drawn = None
        # The inside is drawn when the wanted opening is far beyond anything the person showed.
        self._shown_gap = float(self._lib_gap.max()) if len(self._lib_gap) else 0.0

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
        features = np.empty((len(at), self._lib_features.shape[1]), np.float32)
        for k in range(0, len(at), 512):  # bounded memory, whatever the length
            rows = at[k : k + 512]
            rest = avatar.rest.at(avatar.pose[order[rows]])
            features[k : k + 512] = lip_features(_uncross(rest + self._wanted[rows]))
        path = self._shortest_path(features, angles, at)
        for k, weights in zip(
            at, _crossfades(path, avatar.library.frames, at, avatar.track.cut[order]), strict=True
        ):
            self._weights[k] = weights

    def _shortest_path(self, features, angles, at):
        """Viterbi: the library picture for each frame; int [len(at)]."""
        s = self._settings
        n = len(self._lib_features)
        if n == 1:
            return np.zeros(len(at), int)
        gap = features[:, -2] / 2
        move = s.continuity_weight * self._lib_change
        best = None
        back = np.empty((len(at), n), np.int16)
        for k in range(len(at)):
            shape = ((self._lib_features - features[k]) ** 2).sum(1) * 400
            turn = (((self._lib_angles - angles[k]) / 12) ** 2).sum(1) * s.pose_weight
            # Too little inside has to be stretched, too much is only covered.
            lack = np.maximum(gap[k] - self._lib_gap - 0.01, 0) * 12
            # A shut mouth wants lips that really meet, whatever the mesh says of them.
            shut = np.clip(1 - gap[k] / 0.03, 0, 1)
            cost = shape + turn + lack + 10 * shut * self._lib_parted
            if best is None or at[k] != at[k - 1] + 1:
                back[k] = np.arange(n) if best is None else int(np.argmin(best))
                best = cost + (0 if best is None else best.min())
                continue
            total = best[:, None] + move
            back[k] = total.argmin(0)
            best = total[back[k], np.arange(n)] + cost
            best -= best.min()
        path = np.empty(len(at), int)
        path[-1] = int(best.argmin())
        for k in range(len(at) - 1, 0, -1):
            path[k - 1] = back[k, path[k]]
        return path

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
        own = _with_rim(self._avatar.track.points[frame][:, :2], scale)
        wanted = _with_rim(self._avatar.track.points[frame][:, :2], scale)
        wanted[LOWER] += (
            LOWER_WEIGHT[:, None] * strength * (self._target(index, frame) - own[LOWER])
        )
        x0, y0, x1, y1 = _window(np.concatenate([own[_TRIANGLES], wanted[_TRIANGLES]]), image.shape)
        corner = np.array([x0, y0], np.float32)
        labels = _rasterise(wanted - corner, _TRIANGLES, (y1 - y0, x1 - x0))
        covered = labels >= 0
        # Lips that open leave a hole in the mesh, and a fold leaves gaps: what borders on them is
        # drawn with the nearest triangle, since half a pixel of it shows.
        b = _bounds(wanted[topo.LIPS_OUTER] - corner, LIP_MARGIN * scale, labels.shape)
        near = labels[b[1] : b[3], b[0] : b[2]]
        grown = cv2.dilate(near, np.ones((3, 3), np.uint8), iterations=3)
        np.copyto(near, grown, where=near < 0)
        view = image[y0:y1, x0:x1]
        skin = self._warp(view, wanted - corner, own - corner, labels)
        lips, inside = self._lips(weights, wanted - corner, labels, skin, frame, scale)
        alpha = _lip_mask(wanted - corner, scale, labels.shape) * min(1.0, strength * 2)
        mixed = skin + (lips - skin) * alpha[..., None]
        hole = _hole_mask(wanted - corner, labels.shape)[..., None]
        mixed += (inside - mixed) * hole
        out = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        covered |= hole[..., 0] > 0
        return Patch(out, covered.astype(np.float32), x0, y0)

    def _target(self, index, frame):
        """Wanted lower face in the picture : float32 [len(LOWER), 2], pixels."""
        pose = self._avatar.pose[frame : frame + 1]
        shape = _uncross(self._avatar.rest.at(pose) + self._wanted[index : index + 1])
        return geometry.from_canonical(shape, pose)[0, :, :2]

    def _warp(self, image, wanted, own, labels):
        """Bend `image` so that its mesh `own` lies on `wanted` (window coordinates)."""
        map_x, map_y = _backward_map(wanted, own, _TRIANGLES, labels)
        return self._sample(image, map_x, map_y).astype(np.float32)

    def _lips(self, weights, wanted, labels, skin, frame, scale):
        """Lips and inside of the mouth from the library, bent to `wanted`; float32 pictures."""
        lib = self._avatar.library
        box = _bounds(
            wanted[np.concatenate([topo.LIPS_OUTER])], 2.2 * LIP_MARGIN * scale, labels.shape
        )
        x0, y0, x1, y1 = box
        shift = np.array([x0, y0], np.float32)
        lips, inside = skin.copy(), skin.copy()
        part_l = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
        part_i = np.zeros_like(part_l)
        ring = None
        for pick, weight in weights:
            source = int(lib.frames[pick])
            source_scale = float(self._avatar.pose.scale[source])
            mesh = _with_rim(self._avatar.track.points[source][:, :2], source_scale)
            mesh = mesh - lib.corners[pick].astype(np.float32)
            warped = self._warp(lib.crops[pick], wanted - shift, mesh, labels[y0:y1, x0:x1])
            filling = self._fill(pick, wanted - shift, mesh, scale / source_scale, warped)
            if self._settings.color_match and source != frame:
                if ring is None:
                    ring = _ring(wanted - shift, scale, warped.shape[:2], labels[y0:y1, x0:x1])
                correction = _colour_plane(skin[y0:y1, x0:x1] - warped, ring)
                warped = warped + correction
                # The dark inside takes the light's change in proportion, not as an offset.
                filling = filling * np.clip(1 + correction / 140, 0.6, 1.5)
            part_l += weight * warped
            part_i += weight * filling
        lips[y0:y1, x0:x1] = part_l
        inside[y0:y1, x0:x1] = part_i
        return lips, inside

    def _fill(self, pick, wanted, mesh, zoom, canvas):
        """Inside of the mouth, hung on both lips; float32 picture of `canvas`'s size."""
        crop = self._avatar.library.crops[pick]
        upper, lower = mesh[topo.INNER_UPPER], mesh[topo.INNER_LOWER]
        out = self._hang(crop, upper, lower, wanted, zoom, canvas)
        gap = np.linalg.norm(wanted[topo.LIP_MIDDLE[1]] - wanted[topo.LIP_MIDDLE[0]])
        shown = np.linalg.norm(mesh[topo.LIP_MIDDLE[1]] - mesh[topo.LIP_MIDDLE[0]]) * zoom
        # A seam cannot be stretched into an opening: from twice its height the drawing takes over.
        need = float(np.clip((gap - 1.6 * shown) / max(1.2 * shown, 2.0), 0, 1))
        if need > 0:
            out = out + need * (self._draw_inside(crop, mesh, wanted, canvas) - out)
        return out

    def _draw_inside(self, crop, mesh, wanted, canvas):
        """The drawn inside, tinted like this face, in the wanted opening; float32 picture."""
        if self._drawn is None:
            h, w = crop.shape[:2]

            def colour(indices):
                at = np.rint(mesh[indices]).astype(int)
                return np.median(crop[np.clip(at[:, 1], 0, h - 1), np.clip(at[:, 0], 0, w - 1)], 0)

            lip_rgb = colour([17, 84, 314, 0])
            texture = interior.draw(
                DRAWN_WIDTH_PX,
                round(DRAWN_WIDTH_PX * interior.HEIGHT_OVER_WIDTH),
                skin_rgb=colour([205, 425, 50, 280, 199]),
                lip_rgb=lip_rgb,
            )
            self._drawn = texture, lip_rgb
        texture, lip_rgb = self._drawn
        up, low = wanted[topo.INNER_UPPER], wanted[topo.INNER_LOWER]
        out = canvas.copy()
        x0, y0, x1, y1 = _bounds(np.concatenate([up, low]), 3, canvas.shape)
        axes = _mouth_axes(up)
        yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        u, v = _into(axes, np.stack([xx, yy], -1))
        top, bottom = _contours(axes, up, low, u)
        height = axes[3] * interior.HEIGHT_OVER_WIDTH
        below_upper = np.maximum(v - top, 0) / height
        out[y0:y1, x0:x1] = interior.fill(
            texture,
            np.clip(u, 0, 1),
            below_upper,
            np.maximum(bottom - v, 0) / height,
            below_upper=below_upper,
            lip_rgb=lip_rgb,
        )
        return out

    def _hang(self, picture, upper, lower, wanted, zoom, canvas):
        """Sample a mouth's inside so that its upper part keeps to the upper lip, and so below.

        `upper`, `lower` float32 [11, 2] are the inner contours in `picture`, corner to corner;
        `zoom` is target over source scale.
        """
        up_t, low_t = wanted[topo.INNER_UPPER], wanted[topo.INNER_LOWER]
        x0, y0, x1, y1 = _bounds(np.concatenate([up_t, low_t]), 3, canvas.shape)
        out = canvas.copy()
        if x1 <= x0 or y1 <= y0:
            return out
        # Axes along the mouth, from corner to corner, in target and in source.
        frame_t, frame_s = _mouth_axes(up_t), _mouth_axes(upper)
        yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        u, v = _into(frame_t, np.stack([xx, yy], -1))
        top_t, low_edge_t = _contours(frame_t, up_t, low_t, u)
        top_s, low_edge_s = _contours(frame_s, upper, lower, u)
        height_t = np.maximum(low_edge_t - top_t, 1e-3)
        height_s = np.maximum(low_edge_s - top_s, 1e-3)
        rate = np.minimum(1.0 / max(zoom, 1e-6), height_s / height_t)
        depth = np.clip((v - top_t) / height_t, 0, 1)
        from_top = top_s + (v - top_t) * rate
        from_low = low_edge_s - (low_edge_t - v) * rate
        a = self._at(picture, frame_s, u, from_top)
        b = self._at(picture, frame_s, u, from_low)
        t = np.clip((depth - 0.4) / 0.35, 0, 1)
        t = (t * t * (3 - 2 * t))[..., None]
        out[y0:y1, x0:x1] = a + (b - a) * t
        return out

    def _at(self, picture, axes, u, v):
        origin, along, across, length = axes
        place = origin + (u * length)[..., None] * along + v[..., None] * across
        return self._sample(
            picture,
            np.ascontiguousarray(place[..., 0], np.float32),
            np.ascontiguousarray(place[..., 1], np.float32),
        ).astype(np.float32)


def _uncross(shape):
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


def _parted(avatar):
    """How much the seam of each library mouth differs from lip colour : float32 [N], best is 0.

    A mesh calls lips shut that are a few pixels apart; the dark slit or the teeth in it do not lie.
    """
    lib = avatar.library
    values = []
    for crop, frame, corner in zip(lib.crops, lib.frames, lib.corners, strict=True):
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
        points = avatar.track.points[frame][:, :2] - corner
        seam = (points[topo.INNER_UPPER[2:9]] + points[topo.INNER_LOWER[2:9]]) / 2  # [7, 2]
        reach = np.linspace(-0.02, 0.02, 9) * avatar.pose.scale[frame]
        x = np.repeat(seam[:, 0], len(reach)).astype(np.float32)
        y = (seam[:, 1][:, None] + reach).reshape(-1).astype(np.float32)
        strip = cv2.remap(grey, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lips = (points[[0, 37, 267, 17, 84, 314]] + points[[13, 82, 312, 14, 87, 317]]) / 2
        lips = lips.astype(np.float32)
        tone = np.median(cv2.remap(grey, lips[None, :, 0], lips[None, :, 1], cv2.INTER_LINEAR))
        values.append(np.abs(strip - tone).mean() / max(float(tone), 1.0))
    values = np.array(values, np.float32)
    return np.maximum(values - np.quantile(values, 0.05), 0)


def _appearance_change(avatar):
    """Cost of going from one library picture to another : float32 [N, N], 0 on the diagonal."""
    lib = avatar.library
    thumbs = []
    for crop, frame, corner in zip(lib.crops, lib.frames, lib.corners, strict=True):
        lips = avatar.track.points[frame][topo.LIPS_OUTER, :2] - corner
        x0, y0, x1, y1 = _bounds(lips, 0.2 * avatar.pose.scale[frame], crop.shape)
        small = cv2.resize(crop[y0:y1, x0:x1], (12, 10), interpolation=cv2.INTER_AREA)
        thumbs.append(small.reshape(-1).astype(np.float32) / 255)
    thumbs = np.array(thumbs)
    squares = (thumbs**2).sum(1)
    distance = np.maximum(squares[:, None] + squares - 2 * thumbs @ thumbs.T, 0) / thumbs.shape[1]
    change = 0.15 + 60 * distance
    # The next picture of the same moment is no change at all.
    near = np.abs(lib.frames[:, None] - lib.frames[None])
    change = np.where(near <= 2, change * 0.3, change)
    np.fill_diagonal(change, 0)
    return change.astype(np.float32)


def _crossfades(path, frames, at, cut):
    """Library picks and their weights for each frame: [(pick, weight), ...].

    Only a jump is faded over: neighbouring pictures of one movement would blur each other.
    """
    half = len(CROSSFADE) // 2
    result = []
    for k in range(len(path)):
        weights = {}
        for d, weight in zip(range(-half, half + 1), CROSSFADE, strict=True):
            j = min(max(k + d, 0), len(path) - 1)
            low, high = min(at[j], at[k]), max(at[j], at[k])
            apart = abs(int(frames[path[j]]) - int(frames[path[k]]))
            if apart <= ONE_MOVEMENT or high - low > half or cut[low + 1 : high + 1].any():
                j = k
            weights[path[j]] = weights.get(path[j], 0) + weight
        result.append(sorted(weights.items(), key=lambda w: -w[1]))
    return result


def _bounds(points, margin_px, size):
    """Whole-pixel box around points, inside a picture of `size`: x0, y0, x1, y1."""
    low = np.floor(points.reshape(-1, 2).min(0) - margin_px).astype(int)
    high = np.ceil(points.reshape(-1, 2).max(0) + margin_px).astype(int) + 1
    x0, y0 = max(0, low[0]), max(0, low[1])
    return x0, y0, max(x0 + 1, min(size[1], high[0])), max(y0 + 1, min(size[0], high[1]))


def _window(corners, size):
    return _bounds(corners, 1, size)


def _rasterise(points, triangles, size):
    """Index of the triangle that covers each pixel, -1 for none : int16 [h, w]."""
    labels = np.full(size, -1, np.int16)
    fixed = np.rint(points[triangles] * 16).astype(np.int32)  # 4 fractional bits
    for k, corners in enumerate(fixed):
        cv2.fillConvexPoly(labels, corners, k, cv2.LINE_8, 4)
    return labels


def _backward_map(wanted, own, triangles, labels):
    """Piecewise-affine map from target pixels to source places : two float32 [h, w]."""
    t, s = wanted[triangles].astype(np.float64), own[triangles].astype(np.float64)
    edges_t = t[:, 1:] - t[:, :1]  # [K, 2, 2]
    edges_s = s[:, 1:] - s[:, :1]
    det = edges_t[:, 0, 0] * edges_t[:, 1, 1] - edges_t[:, 0, 1] * edges_t[:, 1, 0]
    det = np.where(np.abs(det) < 1e-3, np.where(det < 0, -1e-3, 1e-3), det)
    inverse = (
        np.stack(
            [edges_t[:, 1, 1], -edges_t[:, 0, 1], -edges_t[:, 1, 0], edges_t[:, 0, 0]], 1
        ).reshape(-1, 2, 2)
        / det[:, None, None]
    )
    linear = inverse @ edges_s  # rows: target x, y; columns: source x, y
    constant = s[:, 0] - np.einsum("ki,kij->kj", t[:, 0], linear)
    table = np.concatenate([linear.reshape(-1, 4), constant], 1).astype(np.float32)
    table = np.concatenate([table, np.array([[1, 0, 0, 1, 0, 0]], np.float32)])  # label -1
    per_pixel = table[labels]  # [h, w, 6]
    h, w = labels.shape
    x = np.arange(w, dtype=np.float32)[None]
    y = np.arange(h, dtype=np.float32)[:, None]
    map_x = per_pixel[..., 0] * x + per_pixel[..., 2] * y + per_pixel[..., 4]
    map_y = per_pixel[..., 1] * x + per_pixel[..., 3] * y + per_pixel[..., 5]
    return map_x, map_y


def _lip_mask(points, scale, size):
    """Where the library's lips replace the skin : float32 [h, w], soft at the edge."""
    mask = np.zeros(size, np.uint8)
    ring = points[topo.LIPS_OUTER]
    cv2.fillPoly(mask, [np.rint(ring * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    grow = max(1, round(LIP_MARGIN * scale))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    mask = cv2.dilate(mask, kernel)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.5, 0.5 * grow))
    return np.clip(soft * 1.6 - 0.3, 0, 1)


def _ring(points, scale, size, labels):
    """Skin around the lips on which colours are compared : bool [h, w]."""
    outer = _lip_mask(points, scale, size) > 0.02
    lips = np.zeros(size, np.uint8)
    cv2.fillPoly(lips, [np.rint(points[topo.LIPS_OUTER]).astype(np.int32)], 1)
    grow = max(1, round(0.02 * scale))
    lips = cv2.dilate(lips, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8))
    return outer & (lips == 0) & (labels >= 0)


def _hole_mask(points, size):
    """The opening between the lips : float32 [h, w], with a soft edge of about a pixel."""
    ring = points[topo.LIPS_INNER]
    x0, y0, x1, y1 = _bounds(ring, 3, size)
    mask = np.zeros(size, np.float32)
    factor = 4
    local = np.zeros(((y1 - y0) * factor, (x1 - x0) * factor), np.uint8)
    at = (ring - (x0, y0) + 0.5) * factor - 0.5
    cv2.fillPoly(local, [np.rint(at * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    small = cv2.resize(local, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    mask[y0:y1, x0:x1] = small.astype(np.float32) / 255
    return mask


def _colour_plane(difference, ring):
    """Offset that varies linearly over the window, fitted on the ring : float32 [h, w, 3]."""
    h, w = ring.shape
    y, x = np.nonzero(ring)
    if len(y) < 12:
        return np.zeros((1, 1, 3), np.float32)
    step = max(1, len(y) // 1500)
    y, x = y[::step], x[::step]
    values = np.clip(difference[y, x], -60, 60)
    basis = np.stack([np.ones(len(y)), x / w - 0.5, y / h - 0.5], 1)
    gram = basis.T @ basis + np.diag([0, 0.05, 0.05]) * len(y)
    coefficients = np.linalg.solve(gram, basis.T @ values).astype(np.float32)  # [3, 3]
    gx = (np.arange(w, dtype=np.float32) / w - 0.5)[None, :, None]
    gy = (np.arange(h, dtype=np.float32) / h - 0.5)[:, None, None]
    return coefficients[0] + gx * coefficients[1] + gy * coefficients[2]


def _mouth_axes(upper):
    """Origin, unit vectors along and across, and length, from corner to corner."""
    origin, end = upper[0], upper[-1]
    along = end - origin
    length = max(float(np.linalg.norm(along)), 1e-3)
    along = along / length
    return origin, along, np.array([-along[1], along[0]], np.float32), length


def _into(axes, points):
    """Coordinates along (0..1) and across (pixels) the mouth."""
    origin, along, across, length = axes
    relative = points - origin
    return relative @ along / length, relative @ across


def _contours(axes, upper, lower, u):
    """Upper and lower inner contour at each place along the mouth, pixels across."""
    edges = []
    for contour in (upper, lower):
        cu, cv = _into(axes, contour)
        order = np.argsort(cu)
        edges.append(np.interp(u, cu[order], cv[order]).astype(np.float32))
    return edges
