"""The inside of the mouth: the person's own, or a drawn one, between two lips."""

import numpy as np

from heygem.face import topology as topo
from heygem.rendering.warp import synthetic_interior
from heygem.rendering.warp.mesh_warp import bounds

DRAWN_WIDTH_PX = 320  # resolution of a drawn inside
TEETH_SHOW = 0.05  # of the mouth's width: a picture open by this shows what teeth there are to see


class MouthInterior:
    """Fills the opening between the lips.

    Parameters
    ----------
    sample : heygem.rendering.warp.mesh_warp.Sampler
    """

    def __init__(self, sample):
        self._sample = sample
        self._drawn = {}

    def fill(self, crop, mesh, wanted, zoom, canvas):
        """Draw the inside of a mouth.

        Parameters
        ----------
        crop : uint8 [h, w, 3], RGB
            Picture of the person's mouth, and its `mesh`, float32 [n, 2].
        wanted : float32 [n, 2]
            Mesh on the canvas.
        zoom : float
            Scale of the canvas over that of the crop.
        canvas : float32 [H, W, 3]
            What is there already.

        Returns
        -------
        float32 [H, W, 3]
            The canvas, with the inside wherever the opening may show it.
        """
        upper, lower = mesh[topo.INNER_UPPER], mesh[topo.INNER_LOWER]
        out = self._hang(crop, upper, lower, wanted, zoom, canvas)
        gap = np.linalg.norm(wanted[topo.LIP_MIDDLE[1]] - wanted[topo.LIP_MIDDLE[0]])
        shown = np.linalg.norm(mesh[topo.LIP_MIDDLE[1]] - mesh[topo.LIP_MIDDLE[0]]) * zoom
        # A seam cannot be stretched into an opening: from twice its height the drawing takes over.
        need = float(np.clip((gap - 1.6 * shown) / max(1.2 * shown, 2.0), 0, 1))
        if need > 0:
            # What the person did show stays where it is, on its lip; only the rest is drawn.
            width = np.linalg.norm(wanted[topo.MOUTH_CORNERS[1]] - wanted[topo.MOUTH_CORNERS[0]])
            teeth = 0.0 if shown > TEETH_SHOW * width else 1.0
            drawn = self._draw_inside(crop, mesh, wanted, canvas, teeth)
            drawn = self._hang(crop, upper, lower, wanted, zoom, canvas, drawn)
            out = out + need * (drawn - out)
        return out

    def _draw_inside(self, crop, mesh, wanted, canvas, teeth):
        """The drawn inside, tinted like this face, in the wanted opening; float32 picture."""
        if teeth not in self._drawn:
            h, w = crop.shape[:2]

            def colour(indices):
                at = np.rint(mesh[indices]).astype(int)
                return np.median(crop[np.clip(at[:, 1], 0, h - 1), np.clip(at[:, 0], 0, w - 1)], 0)

            lip_rgb = colour([17, 84, 314, 0])
            texture = synthetic_interior.draw(
                DRAWN_WIDTH_PX,
                round(DRAWN_WIDTH_PX * synthetic_interior.HEIGHT_OVER_WIDTH),
                skin_rgb=colour([205, 425, 50, 280, 199]),
                lip_rgb=lip_rgb,
                teeth=teeth,
                lip_shadow=False,  # `fill` casts it, where the lip is
            )
            self._drawn[teeth] = texture, lip_rgb
        texture, lip_rgb = self._drawn[teeth]
        up, low = wanted[topo.INNER_UPPER], wanted[topo.INNER_LOWER]
        out = canvas.copy()
        x0, y0, x1, y1 = bounds(np.concatenate([up, low]), 3, canvas.shape)
        axes = _mouth_axes(up)
        yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        u, v = _into(axes, np.stack([xx, yy], -1))
        top, bottom = _contours(axes, up, low, u)
        height = axes[3] * synthetic_interior.HEIGHT_OVER_WIDTH
        below_upper = np.maximum(v - top, 0) / height
        out[y0:y1, x0:x1] = synthetic_interior.fill(
            texture,
            np.clip(u, 0, 1),
            below_upper,
            np.maximum(bottom - v, 0) / height,
            below_upper=below_upper,
            lip_rgb=lip_rgb,
        )
        return out

    def _hang(self, picture, upper, lower, wanted, zoom, canvas, between=None):
        """Sample a mouth's inside so that its upper part keeps to the upper lip, and so below.

        `upper`, `lower` float32 [11, 2] are the inner contours in `picture`, corner to corner;
        `zoom` is target over source scale. With `between`, float32 like the canvas, nothing is
        stretched: it fills what the picture does not show.
        """
        up_t, low_t = wanted[topo.INNER_UPPER], wanted[topo.INNER_LOWER]
        x0, y0, x1, y1 = bounds(np.concatenate([up_t, low_t]), 3, canvas.shape)
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
        rate = 1.0 / max(zoom, 1e-6)
        if between is None:
            rate = np.minimum(rate, height_s / height_t)
        depth = np.clip((v - top_t) / height_t, 0, 1)
        from_top = top_s + (v - top_t) * rate
        from_low = low_edge_s - (low_edge_t - v) * rate
        a = self._at(picture, frame_s, u, from_top)
        b = self._at(picture, frame_s, u, from_low)
        if between is None:
            out[y0:y1, x0:x1] = a + (b - a) * _soft(0.4, 0.75, depth)
            return out
        # In the corners a little lip shows too: a cavity that ends in points is a mask's.
        room = np.maximum(height_s * zoom, 0.6 * float((lower - upper)[3:8, 1].max()) * zoom)
        room = np.maximum(room, 1e-3)
        out[y0:y1, x0:x1] = between[y0:y1, x0:x1]
        for sample, share in (
            (b, 1 - _soft(0.2, 0.5, (low_edge_t - v) / room)),
            (a, 1 - _soft(0.55, 0.95, (v - top_t) / room)),
        ):
            out[y0:y1, x0:x1] += (sample - out[y0:y1, x0:x1]) * share
        return out

    def _at(self, picture, axes, u, v):
        origin, along, across, length = axes
        place = origin + (u * length)[..., None] * along + v[..., None] * across
        return self._sample(
            picture,
            np.ascontiguousarray(place[..., 0], np.float32),
            np.ascontiguousarray(place[..., 1], np.float32),
        ).astype(np.float32)


def _soft(low, high, x):
    """Smooth step from 0 at `low` to 1 at `high`, for mixing colours : float32 [..., 1]."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t))[..., None]


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
