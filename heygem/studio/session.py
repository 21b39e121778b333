"""What the studio works on: one person, one sound, and three seconds made again and again.

Everything that does not depend on a knob is kept: the tracked person, the sound and what the
model makes of it, the decoded frames of the span. A moved knob then costs drawing and writing
of the span alone.
"""

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heygem import audio, media, pipeline, provenance
from heygem.config.params import Params
from heygem.core import findings, logs
from heygem.core.errors import Cancelled, InputError
from heygem.core.files import sha256
from heygem.lips.controls import apply_controls, limit_aperture
from heygem.pipeline.people import load_person
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger
from heygem.rendering.compose import paste
from heygem.rendering.warp.renderer import WarpRenderer
from heygem.server import policy
from heygem.studio.downscale import shrink, smaller

FRAME_BYTES = 768 << 20  # frames kept for a span: 3 s of 1280x720 at 30 a second are 250 MB
KEPT_RENDERS = 12  # files of one session; those in snapshots are never dropped
PRESET = "ultrafast"  # a preview is looked at once, so time counts and size does not
DRAWING_THREADS = 2
PREVIEW_PX = 1280  # longer side of a preview, more than a page shows of two side by side
FACE_PX = 320  # width of the face from which drawing costs more than it shows on a page
LEAST_PX = 720  # but no preview gets smaller than a page shows it


@dataclass(frozen=True)
class Curves:
    """Change of the lips' gap over a span, in eye distances.

    Attributes
    ----------
    times_s : float64 [N]
    before, after : float32 [N]
        As the model says (scaled to the person), and with the knobs.
    start_s, end_s : float
    """

    times_s: np.ndarray
    before: np.ndarray
    after: np.ndarray
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Clip:
    """A rendered span.

    Attributes
    ----------
    result, source : Path
        Videos of the same length: spoken, and as it was.
    params : Params
    start_s, length_s : float
    frames, skipped_frames : int
    seconds : float
        Time it took.
    """

    result: Path
    source: Path
    params: Params
    start_s: float
    length_s: float
    frames: int
    skipped_frames: int
    seconds: float


class Workbench:
    """Keeps a person and a sound in memory and renders spans of them.

    Methods may be called from any thread; one works at a time.

    Parameters
    ----------
    params : Params, optional
        What the session starts from.
    folder : path
        Receives the previews, in a folder of its own for each session.
    models : heygem.pipeline.models.Models, optional
        Models already in memory; by default loaded at the first `open`.
    """

    def __init__(self, params=None, *, folder="runs/preview", models=None):
        self.params = params if params is not None else Params()
        self.folder = Path(folder) / uuid.uuid4().hex[:8]
        self.person = None
        self.heard = None
        self._shown = None  # the person at the preview's size
        self._models = models
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._renderer = None  # (settings, Renderer)
        self._span = None  # what does not depend on a knob, for one span
        self._made = []
        self.pinned = set()  # results that must stay on disk

    @property
    def is_open(self):
        """Whether a person and a sound are in memory."""
        return self.person is not None and self.heard is not None

    @property
    def total_s(self):
        """Length of the sound, seconds; 0 before `open`."""
        return self.heard.speech.duration_s if self.heard else 0.0

    def open(self, video, sound, *, progress=None, cancel=None):
        """Track a video (or take it from the cache) and listen to a sound.

        Raises
        ------
        HeygemError
            Whatever is wrong with either; what was open before stays open.
        """
        if not str(video or "").strip() or not str(sound or "").strip():
            missing = "video" if not str(video or "").strip() else "sound"
            raise InputError(f"no {missing} is chosen", remedy="choose a file on this machine")
        if (rules := policy.current()) is not None:
            for path in (video, sound):
                rules.check_media(path)
        tell = _teller(progress, cancel)
        with self._lock:
            tell("listen", 0, 1)
            if self._models is None:
                with logs.quiet_libraries():
                    self._models = pipeline.load_models(self.params)
            faces = self._models.faces
            person = load_person(video, self.params.face, backend=faces, progress=tell)
            heard = self._models.hear(Path(sound), self.params.audio, person)
            tell("listen", 1, 1)
            self._require_permission(person, sound)
            self.person, self.heard = person, heard
            self._shown = shrink(person, preview_px(person))
            self._renderer = self._span = None

    def _require_permission(self, person, sound):
        """A preview shows the person too: it asks for the same consent as a finished video."""
        basis = self.params.label.consent
        record = Ledger(keys=keys.ensure())
        pipeline.authorize(record, person, person.sha256, sha256(sound), basis=basis)

    def findings(self):
        """What is good and bad about the inputs: list of heygem.core.findings.Finding."""
        if not self.is_open:
            return []
        return [*self.heard.findings, *findings.of_report(self.person.report)]

    def sound_of(self, start_s, length_s):
        """Samples float32 [n] at 16 kHz, voice [m] and log-mel [m, 80] at 100 Hz of a span."""
        a, b = round(start_s * audio.RATE_HZ), round((start_s + length_s) * audio.RATE_HZ)
        samples = self.heard.speech.samples[max(0, a) : b]
        voice = self.heard.voice[round(start_s * 100) : round((start_s + length_s) * 100)]
        return samples, voice, audio.log_mel(samples)

    def curves(self, knobs, start_s, length_s):
        """Lip opening before and after the knobs; takes milliseconds.

        Parameters
        ----------
        knobs : heygem.config.params.LipsSettings
        start_s, length_s : float

        Returns
        -------
        Curves
        """
        end_s = start_s + length_s
        before, after = self._plain(), self._shaped(knobs)
        times_s = np.linspace(start_s, end_s, max(2, round(length_s * 100) + 1))
        rows = before.times_s
        lines = [np.interp(times_s, rows, t.aperture()) for t in (before, after)]
        return Curves(times_s, *(line.astype(np.float32) for line in lines), start_s, end_s)

    def _plain(self):
        return self._moved(type(self.params.lips)(silence_gate=False), None)

    def _shaped(self, knobs):
        return self._moved(knobs, self.heard.voice)

    def _moved(self, knobs, voice):
        """As `heygem.pipeline.generate` makes it, so that the preview keeps its promise."""
        scale = pipeline.speaker_scale(self.person, self._models.lips_of(self.person))
        moved = apply_controls(self.heard.trajectory, knobs, voice, opening_scale=scale)
        widest = pipeline.aperture_limit(self.person) * max(1.0, knobs.openness_gain)
        return limit_aperture(moved, widest)

    def render(self, params, start_s, length_s, *, progress=None, cancel=None):
        """Make one span.

        Parameters
        ----------
        params : Params
        start_s, length_s : float
            On the sound's clock.
        progress, cancel : optional
            As for `heygem.pipeline.generate`.

        Returns
        -------
        Clip

        Raises
        ------
        InputError
            Nothing is open yet.
        Cancelled, OutputError
        """
        began = time.perf_counter()
        tell = _teller(progress, cancel)
        with self._lock:
            if not self.is_open:
                raise InputError("no sound and no video are open", remedy="choose both first")
            self.folder.mkdir(parents=True, exist_ok=True)
            span = self._prepare(params, start_s, length_s, tell)
            trajectory = self._shaped(params.lips)
            renderer = self._renderer_for(params.renderer)
            renderer.plan(trajectory.at(span.moments_s), span.order)
            path = self.folder / f"{next(self._numbers):04d}-result.mp4"
            passed = self._write(path, params, span, renderer, tell)
            self._forget_old(path)
            seconds = time.perf_counter() - began
            frames = len(span.order)
            return Clip(
                path, span.source, params, start_s, length_s, frames, passed, round(seconds, 3)
            )

    def _renderer_for(self, settings):
        if self._renderer is None or self._renderer[0] != settings:
            self._renderer = (settings, WarpRenderer(self._shown, settings, self._models.device))
        return self._renderer[1]

    def _prepare(self, params, start_s, length_s, tell):
        key = (start_s, length_s, params.media.extend, params.media.tail)
        if self._span is not None and self._span.key == key:
            return self._span
        timeline = pipeline.build_timeline(self.person, self.total_s, params.media)
        rows = np.flatnonzero(
            (timeline.times_s >= start_s - 1e-6) & (timeline.times_s < start_s + length_s - 1e-6)
        )
        if not len(rows):
            raise InputError(
                "the span lies behind the end of the video",
                seen=f"{start_s:.2f} s",
                remedy=f"choose a start below {timeline.times_s[-1]:.2f} s",
            )
        moments_s = timeline.times_s[rows]
        span = _Span(
            key=key,
            moments_s=moments_s,
            order=timeline.order[rows],
            rate=timeline.rate,
            spoken=int(np.searchsorted(rows, timeline.spoken)),
            sound=_cut(self.heard.speech.source, float(moments_s[0]), start_s + length_s),
            source=self.folder / f"{next(self._numbers):04d}-source.mp4",
        )
        fits = len(rows) * self._size[0] * self._size[1] * 3 <= FRAME_BYTES
        kept = []
        writer = self._writer(span.source, span)
        with writer:
            for k, image in enumerate(self._pictures(span.order)):
                tell("decode", k, len(span.order))
                writer.write(image, span.times_s[k])
                if fits:
                    kept.append(image)
        span.frames = kept if fits else None
        if self._span is not None and self._span.source not in self.pinned:
            self._span.source.unlink(missing_ok=True)
        self._span = span
        return span

    @property
    def _size(self):
        return self._shown.track.width, self._shown.track.height

    def _pictures(self, order):
        for image in pipeline.frames_in_order(self.person, order):
            yield smaller(image, self._size)

    def _writer(self, path, span, **more):
        width, height = self._size
        return media.VideoWriter(
            path,
            width=width,
            height=height,
            rate=span.rate,
            preset=PRESET,
            pixel_aspect=self.person.info.video.pixel_aspect,
            **more,
        )

    def _write(self, path, params, span, renderer, tell):
        """Draw and write the span; number of frames that pass through untouched."""
        boxes = _face_boxes(self._shown)
        stamp = provenance.VisibleLabel(params.label, *self._size, keep_clear=boxes)
        tags = provenance.aigc_tags(params.label, uuid.uuid4().hex, keys=keys.ensure())
        passed = 0
        writer = self._writer(path, span, audio=span.sound, crf=params.media.crf, metadata=tags)
        with writer, ThreadPoolExecutor(DRAWING_THREADS) as pool:
            frames = span.frames
            if frames is None:
                frames = self._pictures(span.order)
            drawn = _in_order(pool, renderer.render, frames, DRAWING_THREADS + 1)
            for k, (image, patch) in enumerate(drawn):
                tell("render", k, len(span.order))
                if k >= span.spoken:
                    patch = None
                passed += patch is None
                writer.write(stamp.draw(paste(image, patch)), span.times_s[k])
        return passed

    def _forget_old(self, path):
        self._made.append(path)
        free = [p for p in self._made if p not in self.pinned]
        for old in free[:-KEPT_RENDERS]:
            old.unlink(missing_ok=True)
            self._made.remove(old)


@dataclass
class _Span:
    key: tuple
    moments_s: np.ndarray  # on the sound's clock
    order: np.ndarray
    rate: object
    spoken: int
    sound: media.AudioTrack
    source: Path
    frames: list | None = None

    @property
    def times_s(self):
        return self.moments_s - self.moments_s[0]


def preview_px(person):
    """Longer side of a person's previews: drawing costs by the pixels of the face."""
    longest = max(person.track.width, person.track.height)
    by_face = longest * FACE_PX / max(person.report["face_px"], 1)
    return round(min(PREVIEW_PX, max(by_face, LEAST_PX)))


def _teller(progress, cancel):
    def tell(stage, done, total):
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped on request")
        if progress is not None:
            progress(stage, done, total)

    return tell


def _in_order(pool, render, frames, ahead):
    """Yield (image, patch) in order, with a few patches in the making."""
    waiting = []
    for k, image in enumerate(frames):
        waiting.append((image, pool.submit(render, image, k)))
        if len(waiting) > ahead:
            image, patch = waiting.pop(0)
            yield image, patch.result()
    for image, patch in waiting:
        yield image, patch.result()


def _cut(source, start_s, end_s):
    """A span of a sound, without reading what comes after it."""
    first, last = round(start_s * source.rate_hz), round(end_s * source.rate_hz)
    parts, at = [], 0
    for block in source.blocks():
        parts.append(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
        if at >= last:
            break
    samples = np.concatenate(parts) if parts else np.zeros((0, source.channels), np.float32)
    return media.AudioTrack(samples, source.rate_hz)


def _face_boxes(person):
    found = np.flatnonzero(person.track.found)[:: max(1, len(person.track) // 200)]
    points = person.track.points[found][..., :2]
    return np.concatenate([points.min(1), points.max(1)], axis=1)
