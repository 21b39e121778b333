"""The preview page: choose a video and an audio file, and render three seconds of the result."""

import html
import math
import threading
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as w
import numpy as np
import traitlets

from heygem.audio import RATE_HZ
from heygem.config.params import Params
from heygem.core.errors import Cancelled
from heygem.core.i18n import language, translator
from heygem.core.types import PathLike, Progress
from heygem.media.live_picture import LivePicture
from heygem.studio import charts, input_report
from heygem.studio.audio_inputs import save_upload, synthesize_to_file
from heygem.studio.background import LatestTask
from heygem.studio.clip import Clip
from heygem.studio.file_picker import FilePicker
from heygem.studio.player import Player
from heygem.studio.recorder import Recorder, convert_to_wav
from heygem.studio.session import Session
from heygem.studio.status import StatusBar
from heygem.studio.style import PageStyle
from heygem.studio.urls import page_url

# A slider has to rest this long before rendering starts. While it is dragged, its changes come
# closer together; one that comes later stops what has begun within a frame.
DEBOUNCE_S = 0.06
SPAN_S = 3.0
WAIT_S = 0.5
CHECK_WAIT_S = 20.0  # a long video is tracked for minutes: its verdict does not wait for that


class PreviewPage(w.VBox):
    """File browsers, a report on the files, and a player that shows a span of the result.

    Parameters
    ----------
    video, audio : path, optional
        Files on this machine; with both, they are opened at once.
    params : heygem.config.params.Params, optional
    folder : path
        Initial folder of the file browsers.
    out : path
        Receives the previews; inside the folder that the page's server serves.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    session : heygem.studio.session.Session, optional
        Used in place of a new one; `params` and `out` are then ignored.

    Attributes
    ----------
    clip : heygem.studio.clip.Clip or None
        The clip rendered last.
    opened : bool
        Whether a video and an audio file are loaded.
    """

    report_index: int | None = 1  # accordion section shown once files are open; None folds it
    clip = traitlets.Any(None, allow_none=True)
    opened = traitlets.Bool(False)

    def __init__(
        self,
        *,
        video: PathLike = "",
        audio: PathLike = "",
        params: Params | None = None,
        folder: PathLike = ".",
        out: PathLike = "runs/preview",
        lang: str = "",
        session: Session | None = None,
    ) -> None:
        self.translate = translator(lang)
        self.lang = language(lang)
        self.session = session if session is not None else Session(params, folder=out)
        self.params = self.session.params
        self.task, self.landmark_task = LatestTask(), LatestTask()
        self._lock = threading.RLock()
        self.status = StatusBar(self.task, self.translate)
        self.player = Player(self.translate)
        self.hint = w.HTML(html.escape(self.translate("choose_first")))
        self.timing = w.HTML()
        self.files = self._build_files(folder)
        span = self._build_span()
        #: Span, player and timing; the tuning page puts them beside its controls.
        self.main = w.VBox([span, self.player, self.timing], layout=w.Layout(width="100%"))
        self.header = w.VBox(
            [PageStyle(), self.files, self.hint, self.status], layout=w.Layout(width="100%")
        )
        super().__init__([self.header, self.main], layout=w.Layout(width="100%"))
        self._connect()
        if video and audio:
            self._open(str(video), str(audio))
        self.video.chosen, self.audio.chosen = str(video or ""), str(audio or "")

    def _build_files(self, folder: PathLike) -> w.Accordion:
        translate = self.translate
        self.video = FilePicker(translate("video"), folder, kind="video", translate=translate)
        self.audio = FilePicker(translate("audio"), folder, kind="audio", translate=translate)
        self.open_button = w.Button(description=translate("open"), button_style="primary")
        for picker in (self.video, self.audio):  # judged while nobody waits for the first picture
            picker.verdicts.wait = partial(self.task.wait, CHECK_WAIT_S)
        self.text = w.Text(placeholder=translate("text"), layout=w.Layout(width="340px"))
        self.text_language = w.Dropdown(
            options=["en", "zh"],
            value=self.lang,
            tooltip=translate("text_language"),
            layout=w.Layout(width="70px"),
        )
        self.speak_button = w.Button(description=translate("speak"), layout=w.Layout(width="auto"))
        self.recorder = Recorder(translate, self.use_recording)
        self.report = w.HTML()
        self.landmarks = w.Image(format="jpeg", layout=w.Layout(display="none", max_width="100%"))
        choosing = w.VBox(
            [
                w.HBox([self.video, self.audio], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.open_button, self.recorder], layout=_centred_row()),
                w.HBox([self.text, self.text_language, self.speak_button], layout=_centred_row()),
            ]
        )
        return w.Accordion(
            [choosing, w.VBox([self.report, self.landmarks])],
            titles=[translate("files"), translate("report")],
            selected_index=0,
        )

    def _build_span(self) -> w.HBox:
        wide = w.Layout(width="420px")
        self.start = w.FloatSlider(
            description=self.translate("start"), min=0, max=0, step=0.1, continuous_update=False,
            layout=wide,
        )  # fmt: skip
        self.length = w.FloatSlider(
            description=self.translate("length"), min=1, max=10, step=0.5, value=SPAN_S,
            continuous_update=False, layout=wide,
        )  # fmt: skip
        self.render_button = w.Button(
            description=self.translate("render"), icon="play", disabled=True
        )
        return w.HBox([self.start, self.length, self.render_button], layout=_centred_row())

    def _connect(self) -> None:
        self.open_button.on_click(lambda _: self.open_files())
        self.render_button.on_click(lambda _: self.render())
        self.speak_button.on_click(lambda _: self.speak_text())
        self.start.observe(self._span_changed, "value")
        self.length.observe(self._span_changed, "value")
        self.player.observe(self._overview_clicked, "clicked_start_s")

    # --- actions of the user ---

    def open_files(self) -> None:
        """Load the chosen files and render the first span."""
        self._open(self.video.chosen, self.audio.chosen)

    def _open(self, video: str, audio_path: str) -> None:
        def work(progress: Progress, cancel: threading.Event) -> str:
            self.session.load(video, audio_path, progress=progress, cancel=cancel)
            return input_report.report_html(self.session, self.translate, self.lang)

        self.task.submit(work, self._files_loaded)

    def render(self, *, wait_s: float = 0.0) -> None:
        """Render the span with the current settings, after `wait_s` seconds without a change."""
        if not self.session.is_loaded:
            return
        with self._lock:
            params, start_s, length_s = self.params, self.start.value, self.length.value

        def work(progress: Progress, cancel: threading.Event) -> Clip:
            if cancel.wait(wait_s):
                raise Cancelled("a newer preview was requested")
            live = LivePicture(self._show_live)
            try:
                return self.session.render(
                    params, start_s, length_s, progress=progress, show_frame=live, cancel=cancel
                )
            finally:
                self._show_live(b"")

        self.task.submit(work, self._rendered)

    def _show_live(self, jpeg: bytes) -> None:
        self.player.live = jpeg

    def set_params(self, params: Params, *, render: bool = True) -> None:
        """Change the settings: the curve follows at once, the video as soon as it is rendered."""
        with self._lock:
            self.params = params
        self.player.stale = self.clip is not None and self.clip.params != params
        self.update_curves()
        if render:
            self.render(wait_s=DEBOUNCE_S)

    def speak_text(self) -> None:
        """Synthesize the text and use it as the audio."""
        text, text_language = self.text.value, self.text_language.value

        def work(progress: Progress, cancel: threading.Event) -> Path:
            progress("speak", 0, 0)
            return synthesize_to_file(text, text_language, self.session.folder)

        self.task.submit(work, self._use_audio)

    def use_recording(self, name: str, content: bytes) -> None:
        """Use a recording from the browser as the audio."""

        def work(progress: Progress, cancel: threading.Event) -> Path:
            progress("speak", 0, 0)
            item = {"name": name, "content": content}
            return convert_to_wav(save_upload(item, self.session.folder, self.translate))

        self.task.submit(work, self._use_audio)

    def _use_audio(self, path: Path) -> None:
        """Choose new audio; with a video chosen, open both."""
        self.audio.chosen = str(path)
        if self.video.chosen:
            self.open_files()

    # --- updates of the page ---

    def _files_loaded(self, report: str) -> None:
        self.report.value = report
        self.landmarks.layout.display = "none"  # those of the files before
        self.hint.value = ""
        self.files.selected_index = self.report_index
        total_s = self.session.total_s
        with self._lock:
            self.start.unobserve(self._span_changed, "value")
            self.start.value = 0.0
            self.start.max = max(0.0, round(total_s - 1.0, 1))
            # A span of silence would show a still mouth that follows no control.
            first_s = math.floor(self.session.first_speech_s(self.params) * 10) / 10
            self.start.value = min(self.start.max, first_s)
            self.start.observe(self._span_changed, "value")
        self.player.frame_s = self.session.frame_s
        self.player.total_s = total_s
        encoded_audio = self.session.encoded_audio
        self.player.overview = charts.overview_html(
            encoded_audio.speech.samples, encoded_audio.voice, self.translate
        )
        self.render_button.disabled = False
        self.opened = True
        self.update_span()
        self.render()
        self.landmark_task.submit(self._draw_landmarks, self._show_landmarks)

    def _draw_landmarks(self, _progress: Progress, cancel: threading.Event) -> bytes:
        """Frames with landmarks; after the preview, since they take as long as its first frame."""
        avatar = self.session.avatar
        while not self.task.wait(WAIT_S):
            if cancel.is_set():
                return b""
        return input_report.landmark_strip(avatar)

    def _show_landmarks(self, jpeg: bytes) -> None:
        self.landmarks.value, self.landmarks.layout.display = jpeg, "block"

    def _span_changed(self, _: dict[str, Any]) -> None:
        if self.session.is_loaded:
            self.update_span()
            self.render(wait_s=DEBOUNCE_S)

    def _overview_clicked(self, change: dict[str, Any]) -> None:
        self.start.value = min(change["new"], self.start.max)

    def update_span(self) -> None:
        """Redraw waveform, spectrogram and curves of the span."""
        start_s, length_s = self.start.value, self.length.value
        samples, voice, log_mel = self.session.audio_features(start_s, length_s)
        # The span may end after the audio; padding keeps the time axis.
        samples = np.pad(samples, (0, max(0, round(length_s * RATE_HZ) - len(samples))))
        voice = np.pad(voice, (0, max(0, round(length_s * 100) - len(voice))))
        rows = max(0, round(length_s * 100) + 1 - len(log_mel))
        floor = float(log_mel.min(initial=0))
        log_mel = np.pad(log_mel, ((0, rows), (0, 0)), constant_values=floor)
        with self.player.hold_sync():
            self.player.start_s, self.player.length_s = start_s, length_s
            self.player.audio = charts.audio_html(samples, voice, log_mel, self.translate)
            self.update_curves()

    def update_curves(self) -> None:
        """Redraw the aperture curves; takes a few milliseconds."""
        if not self.session.is_loaded:
            return
        if not self.session.draws_trajectory(self.params):
            self.player.curves = ""
            return
        curves = self.session.aperture_curves(self.params.lips, self.start.value, self.length.value)
        self.player.curves = charts.aperture_html(curves, self.translate)

    def _rendered(self, clip: Clip) -> None:
        self.show_clip(clip)
        text = self.translate(
            "took", frames=clip.frames, seconds=clip.seconds, skipped=clip.skipped_frames
        )
        self.timing.value = html.escape(text)

    def show_clip(self, clip: Clip) -> None:
        """Show a rendered clip in the player."""
        with self.player.hold_sync():
            self.player.captions = {}
            self.player.source_url = page_url(clip.source)
            self.player.result_url = page_url(clip.result)
            self.player.stale = clip.params != self.params
        self.clip = clip


def _centred_row() -> w.Layout:
    return w.Layout(flex_flow="row wrap", align_items="center")
