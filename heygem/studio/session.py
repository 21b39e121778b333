"""The state behind a preview: one avatar, one audio file, and short spans rendered on demand.

Everything that does not depend on a control is kept in memory: the tracked avatar, the audio with
the trajectory predicted from it, and the decoded frames of the span. Moving a control then costs
no more than rendering and encoding the span.
"""

import itertools
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from heygem import audio, pipeline
from heygem.avatar import Avatar
from heygem.config.params import LipsSettings, Params
from heygem.core import findings, logs
from heygem.core.errors import InputError
from heygem.core.files import sha256
from heygem.core.findings import Finding
from heygem.core.folders import make_private_folder
from heygem.core.interrupts import observes_cancel
from heygem.core.types import FloatArray, PathLike, Progress
from heygem.lips.trajectory import Trajectory
from heygem.pipeline.models import EncodedAudio, Models
from heygem.pipeline.people import load_person
from heygem.pipeline.progress import cancellable
from heygem.provenance import keys
from heygem.provenance.labeller import ShowFrame
from heygem.provenance.ledger import Ledger
from heygem.rendering.base import Renderer
from heygem.studio.clip import ApertureCurves, Clip, Span, audio_between
from heygem.studio.preview_films import PreviewFilms

Part = TypeVar("Part")

MAX_CLIPS = 12  # results kept on disk for one session; those in snapshots are never deleted
LEAD_IN_S = 0.2
MAX_TRAJECTORIES = 4  # of settings that were asked for last


class Session:
    """Keeps one avatar and one audio file in memory and renders spans of them.

    Methods may be called from any thread; a lock serializes them.

    Parameters
    ----------
    params : Params, optional
        Initial settings.
    folder : path
        Receives the previews, in a subfolder of its own for each session.
    models : heygem.pipeline.models.Models, optional
        Models already in memory; by default loaded by the first `load`.
    """

    def __init__(
        self,
        params: Params | None = None,
        *,
        folder: PathLike = "runs/preview",
        models: Models | None = None,
    ) -> None:
        self.params = params if params is not None else Params()
        self.folder = Path(folder) / uuid.uuid4().hex[:8]
        self.pinned: set[Path] = set()  # results that must stay on disk
        self._tracked: Avatar | None = None
        self._still_motion: float | None = None  # of the avatar in `_loaded_films`
        self._loaded_films: PreviewFilms | None = None
        self._encoded_audio: EncodedAudio | None = None
        self._models = models
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._audio_path, self._audio_sha256 = Path(), ""
        self._style: pipeline.SpeakerStyle | None = None
        self._trajectories: dict[LipsSettings, Trajectory] = {}
        self._renderer: tuple[tuple, Renderer] | None = None
        self._span: Span | None = None  # whatever does not depend on a control, for one span
        self._results: list[Path] = []

    @property
    def is_loaded(self) -> bool:
        """Whether an avatar and an audio file are in memory."""
        return self._loaded_films is not None and self._encoded_audio is not None

    @property
    def avatar(self) -> Avatar:
        """The tracked avatar; raises InputError before `load`."""
        return self._films.avatar

    @property
    def preview_avatar(self) -> Avatar:
        """The avatar at the size of the preview; raises InputError before `load`."""
        return self._films.scaled

    @property
    def _films(self) -> PreviewFilms:
        return _loaded(self._loaded_films)

    @property
    def encoded_audio(self) -> EncodedAudio:
        """The audio and what is computed from it; raises InputError before `load`."""
        return _loaded(self._encoded_audio)

    @property
    def total_s(self) -> float:
        """Length of the audio, seconds; 0 before `load`."""
        return self.encoded_audio.speech.duration_s if self.is_loaded else 0.0

    @observes_cancel
    def load(
        self,
        video: PathLike,
        audio_path: PathLike,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        """Track a video (or take it from the cache) and encode an audio file.

        Raises
        ------
        HeygemError
            Either file cannot be used; what was loaded before stays loaded.
        """
        for kind, path in (("video", video), ("audio file", audio_path)):
            if not str(path or "").strip():
                raise InputError(f"no {kind} is chosen", remedy="choose a file on this machine")
        report_progress = cancellable(progress, cancel)
        with self._lock:
            report_progress("listen", 0, 1)
            if self._models is None:
                with logs.quiet_libraries():
                    self._models = pipeline.load_models(self.params)
            faces = self._models.faces
            avatar = load_person(video, self.params.face, backend=faces, progress=report_progress)
            sound, predict = Path(audio_path), self.draws_trajectory(self.params)
            encode = self._models.encode_audio
            encoded_audio = encode(sound, self.params.audio, avatar, predict=predict)
            report_progress("listen", 1, 1)
            audio_sha256 = sha256(audio_path)
            self._permission(self.params, avatar, audio_sha256)
            self._tracked, self._encoded_audio = avatar, encoded_audio
            self._audio_path, self._audio_sha256 = sound, audio_sha256
            self._animate(self.params)

    def _animate(self, params: Params) -> None:
        """Give a still portrait the movement of these settings; a video stays as it is."""
        self._still_motion = params.media.still_motion
        samples = self.encoded_audio.speech.samples
        tracked = _loaded(self._tracked)
        avatar = pipeline.animate(tracked, samples, audio.RATE_HZ, self._still_motion)
        self._loaded_films = PreviewFilms.of(avatar)
        self._renderer = self._span = None
        self._trajectories.clear()
        self._style = None

    def first_speech_s(self, params: Params) -> float:
        """Where a preview begins: shortly before the first speech [s], 0 where there is none."""
        spoken = np.flatnonzero(self.encoded_audio.voice > audio.IS_SPEECH)
        if not len(spoken):
            return 0.0
        times_s = pipeline.build_timeline(self.avatar, self.total_s, params.media).times_s
        latest_s = max(0.0, float(times_s[-1]) - 1.0)  # the video may end before the speech begins
        return min(max(0.0, spoken[0] / 100 - LEAD_IN_S), latest_s)

    @staticmethod
    def _permission(params: Params, avatar: Avatar, audio_sha256: str) -> dict[str, Any]:
        """Inputs and permission, for the ledger: a preview shows the person as a result does."""
        sources = {"video": avatar.sha256, "sound": audio_sha256}
        permission = pipeline.authorize(
            Ledger(keys=keys.ensure()), avatar, *sources.values(), basis=params.label.consent
        )
        return {"sources": sources, "permission": permission}

    @property
    def frame_s(self) -> float:
        """Duration of a frame of the video; 0.04 where its rate is unknown."""
        rate = float(_loaded(self.avatar.info.video).rate)
        return 1 / rate if rate > 0 else 0.04

    def findings(self) -> list[Finding]:
        """Problems and remarks on the quality of the inputs; empty before `load`."""
        if not self.is_loaded:
            return []
        return [*self.encoded_audio.findings, *findings.of_report(self.avatar.report)]

    def audio_features(
        self, start_s: float, length_s: float
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Samples of a span and what is computed from them.

        Returns
        -------
        samples : float32 [n]
            At 16 kHz, -1..1.
        voice : float32 [m]
            Voice activity, 0..1 at 100 Hz.
        log_mel : float32 [m, 80]
            At 100 Hz.
        """
        a, b = round(start_s * audio.RATE_HZ), round((start_s + length_s) * audio.RATE_HZ)
        samples = self.encoded_audio.speech.samples[max(0, a) : b]
        rows = slice(round(start_s * 100), round((start_s + length_s) * 100))
        return samples, self.encoded_audio.voice[rows], audio.log_mel(samples)

    def aperture_curves(
        self, settings: LipsSettings, start_s: float, length_s: float
    ) -> ApertureCurves:
        """Lip aperture of a span before and after the controls; takes milliseconds.

        Only for engines that draw it; see `draws_trajectory`.
        """
        before = self._trajectory(LipsSettings(silence_gate=False, closure=0))
        after = self._trajectory(settings)
        return ApertureCurves.sample(before, after, start_s, length_s)

    def _trajectory(self, controls: LipsSettings) -> Trajectory:
        """The trajectory that `heygem.pipeline.generate` draws with the same settings.

        A moved slider asks for it three times: for two curves, and to draw it.
        """
        with self._lock:
            trajectory = self._trajectories.pop(controls, None)
            if trajectory is None:
                encoded = self._encoded(predict=True)
                lips = _loaded(self._models).lips_of(self.avatar)
                prediction = _loaded(encoded.predicted), encoded.voice, self.avatar, lips
                if self._style is None:
                    self._style = pipeline.speaker_style(*prediction)
                trajectory = pipeline.articulate(*prediction, controls, style=self._style)
            self._trajectories[controls] = trajectory  # the newest is the last one
            if len(self._trajectories) > MAX_TRAJECTORIES:
                del self._trajectories[next(iter(self._trajectories))]
            return trajectory

    def _encoded(self, *, predict: bool) -> EncodedAudio:
        """The audio; with a predicted trajectory where one is needed for the first time."""
        if predict and self.encoded_audio.predicted is None:
            encode = _loaded(self._models).encode_audio
            self._encoded_audio = encode(self._audio_path, self.params.audio, self.avatar)
        return self.encoded_audio

    @staticmethod
    def draws_trajectory(params: Params) -> bool:
        """Whether the engine of these settings draws the trajectory that the curves show."""
        return pipeline.find_engine(params.engine).uses_motion

    @observes_cancel
    def render(
        self,
        params: Params,
        start_s: float,
        length_s: float,
        *,
        progress: Progress | None = None,
        show_frame: ShowFrame | None = None,
        cancel: threading.Event | None = None,
    ) -> Clip:
        """Render one span.

        Parameters
        ----------
        params : Params
        start_s, length_s : float
            On the clock of the audio.
        progress, show_frame, cancel : optional
            As for `heygem.pipeline.generate`.

        Raises
        ------
        InputError
            Nothing is loaded, or the span starts after the end of the video.
        Cancelled, OutputError
        """
        began_s = time.perf_counter()
        report_progress = cancellable(progress, cancel)
        with self._lock:
            if self.avatar.is_still and params.media.still_motion != self._still_motion:
                self._animate(params)
            make_private_folder(self.folder)
            span = self._prepare_span(params, start_s, length_s, report_progress)
            renderer = self._renderer_for(params)
            motion = None
            if renderer.uses_motion:
                motion = pipeline.with_expression(
                    self._trajectory(params.lips), self.avatar, span.timeline.order, params.lips
                )
            renderer.plan(motion, self.encoded_audio.speech.samples, span.timeline)
            path = self.folder / f"{next(self._numbers):04d}-result.mp4"
            with ThreadPoolExecutor(1) as beside:  # the encoder leaves the renderer its processor
                source = None
                if not span.source.exists():
                    source = beside.submit(self._films.write_source, span)
                skipped = self._films.write_result(
                    path,
                    span,
                    params,
                    renderer,
                    self._permission(params, self.avatar, self._audio_sha256),
                    report_progress=report_progress,
                    show_frame=show_frame,
                )
                if source is not None:
                    source.result()
            self._delete_old_results(path)
            return Clip(
                result=path,
                source=span.source,
                params=params,
                start_s=start_s,
                length_s=length_s,
                frames=len(span.timeline),
                skipped_frames=skipped,
                seconds=round(time.perf_counter() - began_s, 3),
            )

    def _renderer_for(self, params: Params) -> Renderer:
        """The renderer of these settings; kept while they stay the same."""
        key = (params.engine, params.checkpoint, params.renderer, params.lips.offset_ms)
        if self._renderer is None or self._renderer[0] != key:
            models = _loaded(self._models)
            renderer = pipeline.make_renderer(self.preview_avatar, params, models)
            self._renderer = (key, renderer)
        return self._renderer[1]

    def _prepare_span(
        self, params: Params, start_s: float, length_s: float, report_progress: Progress
    ) -> Span:
        """Decode the frames of a span, once for each span."""
        key = (start_s, length_s, params.media.extend, params.media.tail)
        if self._span is not None and self._span.key == key:
            return self._span
        timeline = pipeline.build_timeline(self.avatar, self.total_s, params.media)
        rows = np.flatnonzero(
            (timeline.times_s >= start_s - 1e-6) & (timeline.times_s < start_s + length_s - 1e-6)
        )
        if not len(rows):
            raise InputError(
                "the span starts after the end of the video",
                seen=f"{start_s:.2f} s",
                remedy=f"choose a start below {timeline.times_s[-1]:.2f} s",
            )
        part = timeline.part(rows)
        source_track = self.encoded_audio.speech.source
        span = Span(
            key=key,
            timeline=part,
            audio=audio_between(source_track, float(part.times_s[0]), start_s + length_s),
            source=self.folder / f"{next(self._numbers):04d}-source.mp4",
        )
        self._films.read_frames(span, report_progress)
        if self._span is not None and self._span.source not in self.pinned:
            self._span.source.unlink(missing_ok=True)
        self._span = span
        return span

    def _delete_old_results(self, newest: Path) -> None:
        self._results.append(newest)
        deletable = [path for path in self._results if path not in self.pinned]
        for path in deletable[:-MAX_CLIPS]:
            path.unlink(missing_ok=True)
            self._results.remove(path)


def _loaded(part: Part | None) -> Part:
    """A part of the session that `load` sets.

    Raises
    ------
    InputError
        Nothing is loaded yet.
    """
    if part is None:
        raise InputError("no audio and no video are loaded", remedy="choose both first")
    return part
