"""Draw a trajectory into held-out frames, track the result anew, and take its measure."""

from dataclasses import dataclass

import numpy as np

from heygem import media
from heygem.evaluation import image_metrics, lipreading, motion_metrics
from heygem.evaluation.results import Measure
from heygem.face import tracking
from heygem.rendering import compose
from heygem.rendering.warp.renderer import WarpRenderer

PICTURES = 40  # frames whose pixels are measured, spread over the held-out part
PER_PICTURE = ("seam_gradient", "seam_delta_e", "lip_ring_gradient", "sharpness", "psnr_db")
PER_PICTURE += ("ssim", "changed_outside_px")


@dataclass(frozen=True)
class TestClip:
    """Everything that is the same for all methods on one clip.

    Attributes
    ----------
    person : heygem.evaluation.split.Person
    frames : int [T], held-out frames whose mouth can be replaced, in the clip's numbering
    runs : list of (start, stop) into `frames`, without a gap or a cut inside
    speech : bool [T], voice activity
    real : MouthCurves of the real video at `frames`
    closed_gap : float, aperture under which this person's mouth counts as closed
    windows : int
    own : MouthCurves of the real video at `frames`, the file's own lag put right
    reader : heygem.evaluation.lipreading.Reader, taught on the real mouth of the part learnt from
    said : tuple of heygem.evaluation.lipreading.Word, of the whole clip
    """

    person: object
    frames: np.ndarray
    runs: list
    speech: np.ndarray
    real: motion_metrics.MouthCurves
    closed_gap: float
    windows: int
    own: motion_metrics.MouthCurves
    reader: lipreading.Reader | None = None
    said: tuple = ()

    @property
    def times_s(self):
        return self.real.times_s


@dataclass(frozen=True)
class RenderedClip:
    """One method's mouths, seen by the tracker.

    mouth : MouthCurves
    pictures : dict of str to list of float, measures on single frames
    at : int [P], the frames they were taken at, in the stage's numbering
    flicker : float, restlessness of pixels over the source's
    """

    mouth: motion_metrics.MouthCurves
    pictures: dict
    at: np.ndarray
    flicker: float


def draw(stage, displacement, settings, backend, *, on_frame=None):
    """Render, paste, and track what was pasted; nothing is encoded in between.

    Parameters
    ----------
    stage : Stage
    displacement : float32 [T, L, 3]
        Wanted mouth at `stage.frames`, relative to rest.
    settings : heygem.config.params.RendererSettings
    backend : heygem.face.tracking.Backend
    on_frame : callable, optional
        Called with (frame index, source image, result image).

    Returns
    -------
    Drawn
    """
    avatar, frames = stage.person.avatar, stage.frames
    renderer = WarpRenderer(avatar, settings)
    renderer.plan(displacement, frames)
    follow = tracking.Tracker(backend, start=avatar.track.points[frames[0], :, :2].mean(0))
    place = {int(f): i for i, f in enumerate(frames)}
    look = set(np.linspace(0, len(frames) - 1, min(PICTURES, len(frames))).astype(int).tolist())
    points = np.zeros((len(frames), *avatar.track.points.shape[1:]), np.float32)
    pictures = {key: [] for key in PER_PICTURE}
    at = []
    box = image_metrics.mouth_box(
        np.median(avatar.track.points[frames], 0), avatar.track.width, avatar.track.height
    )
    flicker = image_metrics.Flicker(box)
    starts = {start for start, _ in stage.runs}
    start_s, end_s = (float(avatar.track.times_s[f]) for f in (frames[0], frames[-1]))
    with media.VideoReader(avatar.path, start_s=start_s, end_s=end_s + 1e-3) as reader:
        for frame in reader:
            i = place.get(frame.index)
            if i is None:
                continue
            patch = renderer.render(frame.image, i)
            made = frame.image if patch is None else compose.paste(frame.image, patch)
            seen = follow(made)[0]
            true = avatar.track.points[frame.index]
            # A result in which no face is found any more counts as the source's own mouth:
            # that is what a tracker-driven viewer tool would fall back to, and it costs.
            points[i] = true if seen is None else seen
            flicker.add(made, frame.image, restart=i in starts)
            if i in look and patch is not None:
                mask = whole_mask(patch, frame.image.shape)
                measured = _measure_picture(
                    frame.image, made, mask, true, points[i], float(avatar.pose.scale[frame.index])
                )
                for key, value in measured.items():
                    pictures[key].append(value)
                at.append(i)
            if on_frame is not None:
                on_frame(frame.index, frame.image, made)
    canonical = stage.person.canonical(points, stage.runs, stage.real.rate_hz)
    mouth = motion_metrics.mouth_curves(canonical, stage.times_s)
    return RenderedClip(mouth, pictures, np.array(at, int), flicker.ratio)


def whole_mask(patch, shape):
    """A patch's mask in the whole picture: float32 [H, W]."""
    mask = np.zeros(shape[:2], np.float32)
    h, w = patch.mask.shape
    mask[patch.y : patch.y + h, patch.x : patch.x + w] = patch.mask
    return mask


def _measure_picture(source, made, mask, points, new_points, unit_px):
    """All measures of one frame, keys of `PER_PICTURE`."""
    box = image_metrics.mouth_box(points, source.shape[1], source.shape[0])
    ys, xs = np.nonzero(mask)
    pad = int(0.1 * unit_px) + 2
    around = image_metrics.Box(
        max(int(xs.min()) - pad, 0),
        max(int(ys.min()) - pad, 0),
        int(xs.max()) + pad,
        int(ys.max()) + pad,
    )
    here, there = around.crop(made), around.crop(source)
    edge = image_metrics.seam(here, there, around.crop(mask))
    corner = (around.x0, around.y0)
    ring_made = image_metrics.lip_ring(new_points, unit_px, here.shape[:2], corner)
    ring_true = image_metrics.lip_ring(points, unit_px, here.shape[:2], corner)
    lip_edge = float("nan")
    if ring_made.any() and ring_true.any():
        base = float(image_metrics.slope(there)[ring_true].mean())
        lip_edge = float(image_metrics.slope(here)[ring_made].mean()) / max(base, 1e-6)
    return {
        "seam_gradient": edge.gradient,
        "seam_delta_e": edge.delta_e,
        "lip_ring_gradient": lip_edge,
        "sharpness": image_metrics.sharpness_ratio(box.crop(made), box.crop(source)),
        "psnr_db": image_metrics.psnr_db(box.crop(made), box.crop(source)),
        "ssim": image_metrics.ssim(box.crop(made), box.crop(source)),
        "changed_outside_px": image_metrics.changed_outside(made, source, mask),
    }


def _spread(measure, stage):
    """A measure on the whole part, and its deviation over the windows of it."""
    return Measure.over(measure, motion_metrics.window_slices(len(stage.frames), stage.windows))


def against_real(stage, mouth, *, heard=True):
    """Measures that need the true mouth of the same words.

    heard : bool
        Whether the mouth was made from the sound. One made from the picture has the file's own
        lag in it already: there is nothing to put right.

    Returns
    -------
    dict of str to Measure, keys of `heygem.evaluation.results.METRICS`
    """
    real, own, times_s = stage.real, stage.own, stage.times_s
    out = {
        "aperture_r": lambda p: motion_metrics.correlation(mouth.aperture[p], real.aperture[p]),
        "aligned_r": lambda p: (
            motion_metrics.peak(mouth.aperture[p], real.aperture[p], times_s[p]).r
        ),
        "width_r": lambda p: motion_metrics.correlation(mouth.width[p], real.width[p]),
        "lag_ms": lambda p: motion_metrics.lag_ms(mouth.aperture[p], real.aperture[p], times_s[p]),
        "own_r": lambda p: motion_metrics.correlation(mouth.aperture[p], own.aperture[p]),
        "own_lag_ms": lambda p: motion_metrics.lag_ms(
            mouth.aperture[p], own.aperture[p], times_s[p]
        ),
        "open_ratio": lambda p: motion_metrics.open_ratio(mouth.aperture[p], real.aperture[p]),
        "closure_f1": lambda p: motion_metrics.closure_f1(
            mouth.aperture[p],
            real.aperture[p],
            times_s[p],
            stage.closed_gap,
            speech=stage.speech[p],
        ),
        "lmd": lambda p: motion_metrics.landmark_distance(mouth.lips[p], real.lips[p]),
    }
    if not heard:
        del out["own_r"], out["own_lag_ms"]
    if stage.reader is not None:
        out["words"] = lambda p: stage.reader.accuracy(mouth.part(p), stage.said)
    measures = {key: _spread(measure, stage) for key, measure in out.items()}
    measures["drift_ms"] = Measure(motion_metrics.drift_ms(mouth.aperture, real.aperture, times_s))
    listens = motion_metrics.audio_dependence(mouth.aperture, real.aperture, times_s)
    measures["audio_gap"], measures["audio_p"] = Measure(listens.gap), Measure(listens.p)
    return measures | motion(stage, mouth)


def motion(stage, mouth):
    """Measures of movement alone, for any sound: how much, and how shaky, beside the real mouth."""

    def energy(part):
        keep = np.flatnonzero(stage.speech[part])
        made, real = mouth.lips[part], stage.real.lips[part]
        if len(keep) < 8:
            return float("nan")
        # From the first to the last spoken frame: energies need neighbours.
        span = slice(keep[0], keep[-1] + 1)
        return motion_metrics.energy_ratio(made[span], real[span], stage.real.rate_hz)

    return {
        "articulation": _spread(energy, stage),
        "jitter": _spread(
            lambda p: motion_metrics.jitter_ratio(mouth.lips[p], stage.real.lips[p]), stage
        ),
    }


def leak(stage, silent_mouth):
    """Movement under digital silence over the source mouth's own movement, as energies."""
    return _spread(
        lambda p: motion_metrics.energy_ratio(
            silent_mouth.lips[p], stage.real.lips[p], stage.real.rate_hz
        ),
        stage,
    )


def pictures(stage, drawn, *, same_words):
    """Means over the frames looked at, spread over windows. PSNR and SSIM need the same words."""
    out = {"flicker": Measure(drawn.flicker)}
    for key in PER_PICTURE:
        values = np.array(drawn.pictures[key], float)
        if not np.isfinite(values).any() or (key in ("psnr_db", "ssim") and not same_words):
            continue
        if key == "changed_outside_px":
            out[key] = Measure(float(values.sum()))
            continue
        over = []
        for part in motion_metrics.window_slices(len(stage.frames), stage.windows):
            inside = values[(drawn.at >= part.start) & (drawn.at < part.stop)]
            if np.isfinite(inside).any():
                over.append(float(np.nanmean(inside)))
        spread = float(np.std(over, ddof=1)) if len(over) > 1 else float("nan")
        out[key] = Measure(float(np.nanmean(values)), spread, len(over))
    return out
