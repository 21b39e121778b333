"""Render a motion into held-out frames, track the result like any video, and measure it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from heygem import media
from heygem.avatar.timeline import Timeline
from heygem.core.errors import InputError
from heygem.core.types import BoolArray, FloatArray, Image, IntArray
from heygem.evaluation import image_metrics, motion_metrics
from heygem.evaluation.held_out import TestClip
from heygem.evaluation.results import Measure, Measures
from heygem.face import tracking
from heygem.lips.motion import Motion
from heygem.pipeline.frames import finished_frames
from heygem.rendering.base import Patch, Renderer

MAX_IMAGES = 40  # frames whose pixels are measured, spread over the held-out part
IMAGE_METRICS = (
    "seam_gradient",
    "seam_delta_e",
    "lip_ring_gradient",
    "sharpness",
    "psnr_db",
    "ssim",
    "changed_outside_px",
)


@dataclass(frozen=True)
class RenderedClip:
    """One method's mouth, rendered and tracked again.

    Attributes
    ----------
    clip : TestClip
        The frames in which the tracker found the drawn face: only they can be judged.
    mouth : MouthCurves
        At the frames of `clip`.
    images : dict of str to list of float
        Keys of `IMAGE_METRICS`, one value per measured frame.
    measured : int [P]
        The measured frames, as indices into all held-out frames.
    flicker : float
        See `heygem.evaluation.image_metrics.Flicker`.
    lost : float
        Share of the frames in which the tracker did not find the drawn face, 0..1.
    """

    clip: TestClip
    mouth: motion_metrics.MouthCurves
    images: dict[str, list[float]]
    measured: IntArray
    flicker: float
    lost: float


def render_clip(
    clip: TestClip,
    motion: Motion | None,
    samples: FloatArray,
    renderer: Renderer,
    backend: tracking.Backend,
    *,
    on_frame: Callable[[int, Image, Image], None] | None = None,
) -> RenderedClip:
    """Render the held-out frames and track the result; nothing is encoded in between.

    Parameters
    ----------
    clip : TestClip
    motion : Motion or None
        None for renderers that make the mouth from the audio.
    samples : float32 [n]
        Audio that starts with the held-out part, 16 kHz mono.
    renderer : Renderer
        Of the clip's avatar.
    backend : heygem.face.tracking.Backend
        Frames in which it finds no face are left out, and counted.
    on_frame : callable, optional
        Called with (frame number, source image, rendered image).

    Raises
    ------
    InputError
        The drawn face is hardly ever found.
    """
    avatar, frames = clip.person.avatar, clip.frames
    start_s = clip.person.split.start_s
    timeline = Timeline(frames, clip.times_s - start_s, Fraction(25), len(frames))
    renderer.plan(motion, samples, timeline)
    tracker = tracking.Tracker(backend, start=avatar.track.points[frames[0], :, :2].mean(0))
    chosen = set(np.linspace(0, len(frames) - 1, min(MAX_IMAGES, len(frames))).astype(int).tolist())
    points = np.zeros((len(frames), *avatar.track.points.shape[1:]), np.float32)
    found = np.zeros(len(frames), bool)
    images: dict[str, list[float]] = {key: [] for key in IMAGE_METRICS}
    measured = []
    box = image_metrics.mouth_box(
        np.median(avatar.track.points[frames], 0), avatar.track.width, avatar.track.height
    )
    flicker = image_metrics.Flicker(box)
    starts = {start for start, _ in clip.runs}
    for frame in finished_frames(_held_out_images(clip), renderer, timeline):
        i, number = frame.index, int(frames[frame.index])
        tracked = tracker(frame.image)[0]
        real = avatar.track.points[number]
        if tracked is not None:
            points[i], found[i] = tracked, True
        flicker.add(frame.image, frame.source, restart=i in starts)
        if i in chosen and frame.patch is not None:
            mask = full_frame_mask(frame.patch, frame.source.shape)
            scale_px = float(avatar.pose.scale[number])
            values = _measure_image(frame.source, frame.image, mask, real, tracked, scale_px)
            for key, value in values.items():
                images[key].append(value)
            measured.append(i)
        if on_frame is not None:
            on_frame(number, frame.source, frame.image)
    judged = _frames_with_face(clip, found)
    canonical = clip.person.canonical(points[found], judged.runs, clip.real.rate_hz)
    mouth = motion_metrics.mouth_curves(canonical, judged.times_s)
    lost = float(1 - found.mean())
    return RenderedClip(judged, mouth, images, np.array(measured, int), flicker.ratio, lost)


def _frames_with_face(clip: TestClip, found: BoolArray) -> TestClip:
    """The frames of a clip in which the drawn face was found, bool [T]."""
    if found.all():
        return clip
    if found.sum() < 2 * clip.windows:
        raise InputError(
            f"the drawn face of {clip.person.avatar.path.name} is hardly ever found",
            seen=f"in {int(found.sum())} of {len(found)} frames",
            remedy="look at the video that --save-visuals writes",
        )
    return clip.part(found)


def _held_out_images(clip: TestClip) -> Iterator[Image]:
    """Decode the clip's held-out frames, one pass, in order."""
    avatar, frames = clip.person.avatar, set(clip.frames.tolist())
    start_s, end_s = (float(avatar.track.times_s[f]) for f in (clip.frames[0], clip.frames[-1]))
    with media.VideoReader(avatar.path, start_s=start_s, end_s=end_s + 1e-3) as reader:
        for frame in reader:
            if frame.index in frames:
                yield frame.image


def full_frame_mask(patch: Patch, shape: tuple[int, ...]) -> FloatArray:
    """A patch's mask placed in the whole frame: float32 [H, W]."""
    mask = np.zeros(shape[:2], np.float32)
    h, w = patch.mask.shape
    mask[patch.y : patch.y + h, patch.x : patch.x + w] = patch.mask
    return mask


def _measure_image(
    source: Image,
    rendered: Image,
    mask: FloatArray,
    points: FloatArray,
    rendered_points: FloatArray | None,
    iod_px: float,
) -> dict[str, float]:
    """All metrics of one frame, keys of `IMAGE_METRICS`; `rendered_points` None: no face found."""
    box = image_metrics.mouth_box(points, source.shape[1], source.shape[0])
    ys, xs = np.nonzero(mask)
    pad = int(0.1 * iod_px) + 2
    around = image_metrics.Box(
        max(int(xs.min()) - pad, 0),
        max(int(ys.min()) - pad, 0),
        int(xs.max()) + pad,
        int(ys.max()) + pad,
    )
    rendered_crop, source_crop = around.crop(rendered), around.crop(source)
    seam = image_metrics.seam(rendered_crop, source_crop, around.crop(mask))
    size, corner = rendered_crop.shape[:2], (around.x0, around.y0)
    ring_gradient = float("nan")
    if rendered_points is not None:
        rendered_ring = image_metrics.lip_ring(rendered_points, iod_px, size, corner)
        source_ring = image_metrics.lip_ring(points, iod_px, size, corner)
        if rendered_ring.any() and source_ring.any():
            base = float(image_metrics.gradient(source_crop)[source_ring].mean())
            gradient = float(image_metrics.gradient(rendered_crop)[rendered_ring].mean())
            ring_gradient = gradient / max(base, 1e-6)
    return {
        "seam_gradient": seam.gradient,
        "seam_delta_e": seam.delta_e,
        "lip_ring_gradient": ring_gradient,
        "sharpness": image_metrics.sharpness_ratio(box.crop(rendered), box.crop(source)),
        "psnr_db": image_metrics.psnr_db(box.crop(rendered), box.crop(source)),
        "ssim": image_metrics.ssim(box.crop(rendered), box.crop(source)),
        "changed_outside_px": image_metrics.changed_outside(rendered, source, mask),
    }


def _over_windows(metric: Callable[[slice], float], clip: TestClip) -> Measure:
    """A metric on the whole held-out part, and its deviation over the windows of it."""
    return Measure.over(metric, motion_metrics.window_slices(len(clip.frames), clip.windows))


def compare_with_real(
    clip: TestClip, mouth: motion_metrics.MouthCurves, *, from_audio: bool = True
) -> Measures:
    """Metrics that need the real mouth speaking the same words.

    Parameters
    ----------
    clip : TestClip
        Of `RenderedClip`.
    mouth : MouthCurves
        At `clip.frames`.
    from_audio : bool
        Whether the motion was predicted from audio. One that was copied from the video carries
        the file's own lag, so the metrics with that lag corrected do not apply to it.
    """
    real, corrected, times_s = clip.real, clip.real_lag_corrected, clip.times_s
    metrics: dict[str, Callable[[slice], float]] = {
        "aperture_corr": lambda p: motion_metrics.correlation(mouth.aperture[p], real.aperture[p]),
        "aligned_corr": lambda p: (
            motion_metrics.best_lag(mouth.aperture[p], real.aperture[p], times_s[p]).corr
        ),
        "width_corr": lambda p: motion_metrics.correlation(mouth.width[p], real.width[p]),
        "lag_ms": lambda p: motion_metrics.lag_ms(mouth.aperture[p], real.aperture[p], times_s[p]),
        "lag_corrected_corr": lambda p: motion_metrics.correlation(
            mouth.aperture[p], corrected.aperture[p]
        ),
        "residual_lag_ms": lambda p: motion_metrics.lag_ms(
            mouth.aperture[p], corrected.aperture[p], times_s[p]
        ),
        "amplitude_ratio": lambda p: motion_metrics.amplitude_ratio(
            mouth.aperture[p], real.aperture[p]
        ),
        "closure_f1": lambda p: motion_metrics.closure_f1(
            mouth.aperture[p],
            real.aperture[p],
            times_s[p],
            clip.closed_gap,
            speech=clip.speech[p],
        ),
        "lmd": lambda p: motion_metrics.landmark_distance(mouth.lips[p], real.lips[p]),
    }
    if not from_audio:
        del metrics["lag_corrected_corr"], metrics["residual_lag_ms"]
    reader = clip.reader
    if reader is not None:
        metrics["word_accuracy"] = lambda p: reader.accuracy(mouth.part(p), clip.words)
    measures = {key: _over_windows(metric, clip) for key, metric in metrics.items()}
    measures["drift_ms"] = Measure(motion_metrics.drift_ms(mouth.aperture, real.aperture, times_s))
    dependence = motion_metrics.audio_dependence(mouth.aperture, real.aperture, times_s)
    measures["audio_gap"], measures["audio_p"] = Measure(dependence.gap), Measure(dependence.p)
    return measures | motion_measures(clip, mouth)


def motion_measures(clip: TestClip, mouth: motion_metrics.MouthCurves) -> Measures:
    """Metrics of motion alone, which apply to any audio: its energy and its jitter."""

    def articulation(part: slice) -> float:
        spoken = np.flatnonzero(clip.speech[part])
        rendered, real = mouth.lips[part], clip.real.lips[part]
        if len(spoken) < 8:
            return float("nan")
        # From the first to the last spoken frame: energies need neighbours.
        span = slice(spoken[0], spoken[-1] + 1)
        return motion_metrics.energy_ratio(rendered[span], real[span], clip.real.rate_hz)

    def jitter(part: slice) -> float:
        return motion_metrics.jitter_ratio(mouth.lips[part], clip.real.lips[part])

    return {
        "articulation": _over_windows(articulation, clip),
        "jitter": _over_windows(jitter, clip),
    }


def silence_leakage(clip: TestClip, silent_mouth: motion_metrics.MouthCurves) -> Measure:
    """Motion energy under digital silence over that of the real mouth."""

    def energy(part: slice) -> float:
        return motion_metrics.energy_ratio(
            silent_mouth.lips[part], clip.real.lips[part], clip.real.rate_hz
        )

    return _over_windows(energy, clip)


def image_measures(clip: TestClip, rendered: RenderedClip, *, same_words: bool) -> Measures:
    """Means over the measured frames, spread over windows; PSNR and SSIM need the same words."""
    measures = {"flicker": Measure(rendered.flicker), "lost_frames": Measure(rendered.lost)}
    for key in IMAGE_METRICS:
        values = np.array(rendered.images[key], float)
        if not np.isfinite(values).any() or (key in ("psnr_db", "ssim") and not same_words):
            continue
        if key == "changed_outside_px":
            measures[key] = Measure(float(values.sum()))
            continue
        means = []
        for part in motion_metrics.window_slices(len(clip.frames), clip.windows):
            inside = values[(rendered.measured >= part.start) & (rendered.measured < part.stop)]
            if np.isfinite(inside).any():
                means.append(float(np.nanmean(inside)))
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")
        measures[key] = Measure(float(np.nanmean(values)), spread, len(means))
    return measures
