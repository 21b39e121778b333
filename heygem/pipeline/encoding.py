"""From planned renderer to coded film: in one go, or in segments that outlive the process."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from heygem import media
from heygem.avatar.avatar import Avatar
from heygem.avatar.reasons import Reason
from heygem.avatar.timeline import Timeline, frames_in_order, planes_in_order
from heygem.config.params import Params
from heygem.core.memory import trim_heap
from heygem.core.streaming import BackgroundConsumer, one_opencv_thread, prefetch
from heygem.core.types import Image, IntArray, Progress
from heygem.media.encoders import Encoder
from heygem.media.yuv import YuvImage
from heygem.pipeline.frames import face_boxes, finished_frames
from heygem.pipeline.models import EncodedAudio
from heygem.pipeline.progress import StepClock
from heygem.pipeline.segments import Run, SegmentStore, Span, state_hash
from heygem.provenance.keys import Keys
from heygem.provenance.labeller import Labeller, ShowFrame
from heygem.rendering.base import Renderer

WAITING_ON_CPU = 3  # frames at most between two threads: 3 MB each at 1080p
RENDER_THREADS = 2  # frames drawn at once on a CPU; most of the work is done without the GIL
TRIM_FRAMES = 250  # after which free memory between blocks in use goes back; some milliseconds
BATCH_ON_GPU = 4  # frames computed at once on a GPU, for each of `resources.batch_size`
AnyPicture: TypeAlias = Image | YuvImage


@dataclass(frozen=True)
class Film:
    """What is encoded.

    Attributes
    ----------
    name : str
        Of the result, for messages.
    avatar : Avatar
    renderer : Renderer
        Planned for the timeline.
    timeline : Timeline
    encoded : EncodedAudio
    labeller : Labeller
    params : Params
    device : str
    encoder : heygem.media.encoders.Encoder
    """

    name: str
    avatar: Avatar
    renderer: Renderer
    timeline: Timeline
    encoded: EncodedAudio
    labeller: Labeller
    params: Params
    device: str
    encoder: Encoder

    @property
    def whole(self) -> Span:
        """All of it."""
        return Span(0, 0, len(self.timeline))


@dataclass(frozen=True)
class Encoding:
    """Facts about an encoded film.

    Attributes
    ----------
    notes : list of str
        The writer's.
    skipped : dict of str to int
        Frames left as they were, by reason.
    timings : dict of str to float
        Milliseconds of processor time for each frame, by step; see `StepClock`.
    """

    notes: list[str]
    skipped: Counter[str]
    timings: dict[str, float]


def make_labeller(
    avatar: Avatar,
    params: Params,
    keys: Keys,
    store: SegmentStore | None,
    show_frame: ShowFrame | None,
    device: str,
) -> Labeller:
    """The labeller of a film of one person, which continues an interrupted run of `store`."""
    run = store.run if store is not None else None
    return Labeller(
        params.label,
        avatar.track.width,
        avatar.track.height,
        keys=keys,
        keep_clear=face_boxes(avatar),
        continues=None if run is None else (run.produce_id, run.watermark_id),
        show_frame=show_frame,
        device=device,
    )


def encode(
    film: Film,
    path: Path,
    spans: list[Span],
    store: SegmentStore | None,
    report_progress: Progress,
) -> Encoding:
    """Render, label and encode a film with its sound.

    Parameters
    ----------
    film : Film
    path : Path
        Temporary name of the result.
    spans : list of Span
        Its segments, one after the other.
    store : SegmentStore, optional
        Where segments are kept; None: the film is encoded in one go.
    report_progress : callable
    """
    steps = StepClock()
    if store is not None:
        return _encode_in_segments(film, path, spans, store, report_progress, steps)
    with _writer(film, path) as writer:
        skipped = _write_frames(film, film.whole, writer, report_progress, steps)
    return Encoding(writer.notes, skipped, steps.per_frame(len(film.timeline)))


def _encode_in_segments(
    film: Film,
    path: Path,
    spans: list[Span],
    store: SegmentStore,
    report_progress: Progress,
    steps: StepClock,
) -> Encoding:
    """Frames and labels are those of one go; each segment begins with a key frame."""
    labeller = film.labeller
    store.begin(Run(labeller.produce_id, labeller.watermark_id))
    skipped: Counter[str] = Counter()
    used = frames = 0  # segments of an earlier run, frames of this one
    for span in spans:
        before = state_hash(labeller.state())
        record = store.find(span, before)
        if record is not None:
            labeller.restore(record["state"])
            skipped.update(record["skipped"])
            used += 1
            continue
        with _writer(film, store.video(span), span) as segment:
            skipped_here = _write_frames(film, span, segment, report_progress, steps)
        store.keep(span, before, labeller.state(), skipped_here)
        skipped.update(skipped_here)
        frames += span.stop - span.first
    report_progress("finish", 0, 1)
    with _writer(film, path) as writer:
        for span in spans:
            writer.append_coded(store.video(span), float(film.timeline.times_s[span.first]))
    notes = [f"{used} of {len(spans)} segments are of an interrupted run"] if used else []
    return Encoding([*writer.notes, *notes], skipped, steps.per_frame(frames))


def _writer(film: Film, path: Path, span: Span | None = None) -> media.VideoWriter:
    """The writer of the whole film with its sound, or of a segment without."""
    avatar, timeline, params = film.avatar, film.timeline, film.params
    assert avatar.info.video is not None
    frames = film.whole if span is None else span
    return media.VideoWriter(
        path,
        label=film.labeller,
        width=avatar.track.width,
        height=avatar.track.height,
        rate=timeline.rate,
        audio=film.encoded.speech.source if span is None else None,
        crf=params.media.crf,
        preset=params.media.preset,
        expected_frames=frames.stop - frames.first,
        shown_name=film.name,
        # A still has no time base of its own; a video's is kept, so that its times are exact.
        time_base=None if avatar.is_still else avatar.info.video.time_base,
        pixel_aspect=avatar.info.video.pixel_aspect,
        coding=avatar.info.video.coding,
        codec=film.encoder.codec,
        start_s=0.0 if span is None else float(timeline.times_s[span.first]),
    )


def _write_frames(
    film: Film,
    span: Span,
    writer: media.VideoWriter,
    report_progress: Progress,
    steps: StepClock,
) -> Counter[str]:
    """Render, label and encode some frames; returns the number of skipped ones by reason."""
    timeline, count = film.timeline, len(film.timeline)
    skipped: Counter[str] = Counter()
    size = film.params.resources.batch_size
    held = min(size, WAITING_ON_CPU) if film.device == "cpu" else size
    order = timeline.order[span.first : span.stop]
    images = prefetch(steps.each("decode", _decoded(film.avatar, order)), ahead=held)

    def write(batch: list[tuple[AnyPicture, float]]) -> None:
        with steps.step("encode"):
            writer.write_batch([image for image, _ in batch], [time_s for _, time_s in batch])

    at_once = 1 if film.device == "cpu" else BATCH_ON_GPU * size  # a CPU gains nothing
    labelled = 1 if film.device == "cpu" else size  # at once; whole frames, not mouths alone
    frames = finished_frames(
        images,
        film.renderer,
        timeline,
        first=span.first,
        threads=RENDER_THREADS if film.device == "cpu" else 1,
        batch_size=at_once,
        steps=steps,
    )
    with (
        one_opencv_thread(),
        BackgroundConsumer[list[tuple[AnyPicture, float]]](
            write, waiting=held // labelled
        ) as encoder,
    ):
        batch: list[tuple[AnyPicture, float]] = []
        for frame in frames:
            report_progress("render", frame.index, count)
            if frame.patch is None:
                skipped[skip_reason(film.avatar, timeline, frame.index)] += 1
            elif isinstance(frame.image, YuvImage):
                frame.image.is_for_encoder = True
            batch.append((frame.image, float(timeline.times_s[frame.index])))
            if len(batch) == labelled:
                encoder.put(batch)
                batch = []
            if (frame.index + 1) % TRIM_FRAMES == 0:
                trim_heap()
        if batch:
            encoder.put(batch)
        if span.stop == count:
            report_progress("render", count, count)
            report_progress("finish", 0, 1)  # the encoder holds frames back, and the sound follows
    steps.add("label", writer.label_cpu_s)
    steps.add("encode", -writer.label_cpu_s)
    return skipped


def _decoded(avatar: Avatar, order: IntArray) -> Iterator[Any]:
    """The frames in the codec's planes, or in RGB where the result has to be padded."""
    assert avatar.info.video is not None
    if avatar.track.width % 2 or avatar.track.height % 2:
        return frames_in_order(avatar, order)
    return planes_in_order(avatar, order, avatar.info.video.coding)


def skip_reason(avatar: Avatar, timeline: Timeline, index: int) -> Reason:
    """Why an output frame was left as it was."""
    if index >= timeline.spoken:
        return Reason.AFTER_AUDIO
    return avatar.skip_reason(int(timeline.order[index]))
