"""The preview page: choose a person and a sound, see three seconds of them."""

import hashlib
import html
import threading
from pathlib import Path

import ipywidgets as w
import numpy as np
import traitlets

from heygem.audio import tts
from heygem.core.errors import Cancelled, HeygemError, InputError
from heygem.core.i18n import language, words
from heygem.media import write_wav
from heygem.server import policy
from heygem.studio import charts, input_report
from heygem.studio.background import LatestTask
from heygem.studio.file_picker import AUDIO_ENDINGS, UPLOAD_MB, FilePicker
from heygem.studio.player import Player
from heygem.studio.recorder import Recorder, as_wave
from heygem.studio.session import Session
from heygem.studio.status import StatusBar
from heygem.studio.urls import page_url

DEBOUNCE_S = 0.12  # a slider that still moves starts nothing
SPAN_S = 3.0


class Preview(w.VBox):
    """Files, a report on them, and a player that shows a span of the result.

    Parameters
    ----------
    video, audio : str, optional
        Files on this machine; with both, they are opened at once.
    params : heygem.config.params.Params, optional
    folder : path
        Where the file browsers start.
    out : path
        Receives the previews; inside what the page's server serves.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    session : Session, optional

    Attributes
    ----------
    clip : heygem.studio.session.Clip or None
        What was rendered last.
    opened : bool
        Whether a person and a sound are open.
    """

    report_index = 1  # what the accordion shows once files are open; None folds it
    clip = traitlets.Any(None, allow_none=True)
    opened = traitlets.Bool(False)

    def __init__(
        self, *, video="", audio="", params=None, folder=".", out="runs/preview", lang="",
        session=None,
    ):  # fmt: skip
        self.say = say = words(lang)
        self.lang = lang = language(lang)
        self.session = session if session is not None else Session(params, folder=out)
        self.params = self.session.params
        self.worker = LatestTask()
        self._lock = threading.RLock()
        self.status = StatusBar(self.worker, say)
        self.player = Player(say)
        self.video = FilePicker(say("video"), folder, kind="video", say=say)
        self.audio = FilePicker(say("audio"), folder, kind="audio", say=say)
        self.open_button = w.Button(description=say("open"), button_style="primary")
        self.upload = w.FileUpload(
            accept="audio/*", description=say("upload"), layout=w.Layout(width="auto")
        )
        self.text = w.Text(placeholder=say("text"), layout=w.Layout(width="340px"))
        self.language = w.Dropdown(options=["en", "zh"], value=lang, layout=w.Layout(width="70px"))
        self.speak_button = w.Button(description=say("speak"), layout=w.Layout(width="auto"))
        self.recorder = Recorder(say, self.recorded)
        self.hint = w.HTML(html.escape(say("choose_first")))
        self.report = w.HTML()
        self.strip = w.Image(format="jpeg", layout=w.Layout(display="none", max_width="100%"))
        wide = w.Layout(width="420px")
        self.start = w.FloatSlider(
            description=say("start"), min=0, max=0, step=0.1, continuous_update=False, layout=wide
        )
        self.length = w.FloatSlider(
            description=say("length"), min=1, max=10, step=0.5, value=SPAN_S,
            continuous_update=False, layout=wide,
        )  # fmt: skip
        self.render_button = w.Button(description=say("render"), icon="play", disabled=True)
        self.took = w.HTML()
        files = w.VBox(
            [
                w.HBox([self.video, self.audio], layout=w.Layout(flex_flow="row wrap")),
                w.HBox(
                    [self.open_button, self.upload, self.recorder],
                    layout=w.Layout(flex_flow="row wrap", align_items="center"),
                ),
                w.HBox(
                    [self.text, self.language, self.speak_button],
                    layout=w.Layout(flex_flow="row wrap", align_items="center"),
                ),
            ]
        )
        self.files = w.Accordion(
            [files, w.VBox([self.report, self.strip])],
            titles=[say("files"), say("report")],
            selected_index=0,
        )
        span = w.HBox(
            [self.start, self.length, self.render_button],
            layout=w.Layout(flex_flow="row wrap", align_items="center"),
        )
        #: Span, player and what it took; the tuning page puts it beside its knobs.
        self.main = w.VBox([span, self.player, self.took], layout=w.Layout(width="100%"))
        self.head = w.VBox([self.files, self.hint, self.status], layout=w.Layout(width="100%"))
        super().__init__([self.head, self.main], layout=w.Layout(width="100%"))
        self.open_button.on_click(lambda _: self.open_files())
        self.render_button.on_click(lambda _: self.render())
        self.speak_button.on_click(lambda _: self.speak())
        self.upload.observe(self._uploaded, "value")
        self.start.observe(self._span_moved, "value")
        self.length.observe(self._span_moved, "value")
        self.player.observe(self._picked, "picked_s")
        self.video.chosen, self.audio.chosen = str(video or ""), str(audio or "")
        if video and audio:
            self.open_files()

    # --- what the user does ---

    def open_files(self):
        """Open what the browsers show, and render the first span."""
        video, sound = self.video.chosen, self.audio.chosen

        def work(progress, cancel):
            self.session.load(video, sound, progress=progress, cancel=cancel)
            words_html = input_report.report_html(self.session, self.lang)
            return words_html, input_report.track_strip(self.session)

        self.worker.submit(work, self._opened)

    def render(self, *, wait_s=0.0):
        """Render the span with the present knobs; `wait_s` lets a moving slider come to rest."""
        if not self.session.is_loaded:
            return
        with self._lock:
            params, start_s, length_s = self.params, self.start.value, self.length.value

        def work(progress, cancel):
            if cancel.wait(wait_s):
                raise Cancelled("a newer preview is wanted")
            return self.session.render(params, start_s, length_s, progress=progress, cancel=cancel)

        self.worker.submit(work, self._rendered)

    def apply(self, params, *, render=True):
        """Take other knobs: the curve follows at once, the picture as soon as it can."""
        with self._lock:
            self.params = params
        self.player.stale = self.clip is not None and self.clip.params != params
        self.draw_curves()
        if render:
            self.render(wait_s=DEBOUNCE_S)

    def speak(self):
        """Speak the text, and take it as the sound."""
        text, language, folder = self.text.value, self.language.value, self.session.folder

        def work(progress, cancel):
            progress("speak", 0, 0)
            return spoken_file(text, language, folder)

        self.worker.submit(work, self._sounded)

    def recorded(self, name, content):
        """Take a recording as the sound."""

        def work(progress, cancel):
            progress("speak", 0, 0)
            item = {"name": name, "content": content}
            return as_wave(keep_upload(item, self.session.folder, self.say))

        self.worker.submit(work, self._sounded)

    def _sounded(self, path):
        """A sound made just now is wanted at once, where there is somebody to speak it."""
        self.audio.chosen = str(path)
        if self.video.chosen:
            self.open_files()

    # --- what follows from it ---

    def _opened(self, result):
        words_html, picture = result
        self.report.value = words_html
        self.strip.value, self.strip.layout.display = picture, "block"
        self.hint.value = ""
        self.files.selected_index = self.report_index
        total_s = self.session.total_s
        with self._lock:
            self.start.unobserve(self._span_moved, "value")
            self.start.value = 0.0
            self.start.max = max(0.0, round(total_s - 1.0, 1))
            self.start.observe(self._span_moved, "value")
        rate = float(self.session.avatar.info.video.rate)
        self.player.frame_s = 1 / rate if rate > 0 else 0.04
        self.player.total_s = total_s
        samples, voice = self.session.encoded_audio.speech.samples, self.session.encoded_audio.voice
        self.player.overview = charts.overview_html(samples, voice, self.say)
        self.render_button.disabled = False
        self.opened = True
        self.draw_span()
        self.render()

    def _span_moved(self, _):
        if self.session.is_loaded:
            self.draw_span()
            self.render(wait_s=DEBOUNCE_S)

    def _picked(self, change):
        self.start.value = min(change["new"], self.start.max)

    def draw_span(self):
        """Redraw waveform, spectrum and curves of the span."""
        start_s, length_s = self.start.value, self.length.value
        sound = self.session.audio_features(start_s, length_s)
        # The span may reach behind the end of the sound; the drawing keeps its time axis.
        missing = round(length_s * 100) + 1 - len(sound[2])
        samples = np.pad(sound[0], (0, max(0, round(length_s * 16000) - len(sound[0]))))
        voice = np.pad(sound[1], (0, max(0, round(length_s * 100) - len(sound[1]))))
        floor = float(sound[2].min(initial=0))
        mel = np.pad(sound[2], ((0, max(0, missing)), (0, 0)), constant_values=floor)
        with self.player.hold_sync():
            self.player.start_s, self.player.length_s = start_s, length_s
            self.player.sound = charts.sound_html(samples, voice, mel, self.say)
            self.draw_curves()

    def draw_curves(self):
        """Redraw the lip curves; a few milliseconds."""
        if not self.session.is_loaded:
            return
        if not self.session.draws_trajectory(self.params):
            self.player.curves = ""
            return
        curves = self.session.aperture_curves(self.params.lips, self.start.value, self.length.value)
        self.player.curves = charts.curves_html(curves, self.say)

    def _rendered(self, clip):
        self.show(clip)
        self.took.value = html.escape(
            self.say("took", frames=clip.frames, seconds=clip.seconds, skipped=clip.skipped_frames)
        )

    def show(self, clip):
        """Play a clip that was made before."""
        with self.player.hold_sync():
            self.player.source_url = page_url(clip.source)
            self.player.result_url = page_url(clip.result)
            self.player.stale = clip.params != self.params
        self.clip = clip

    def _uploaded(self, change):
        if not change["new"]:
            return
        item = change["new"][0]
        try:
            self.audio.chosen = str(keep_upload(item, self.session.folder, self.say))
        except HeygemError as error:
            self.status.show(error)
        finally:
            self.upload.value = ()


def keep_upload(item, folder, say):
    """Write an uploaded sound to a folder; a name from outside never leaves it.

    Raises
    ------
    InputError
        It is too large, or of another kind.
    """
    content = bytes(item["content"])
    name = Path(str(item["name"])).name
    rules = policy.current()
    limit = UPLOAD_MB if rules is None else rules.policy.limits.upload_mb
    if len(content) > limit * 2**20:
        raise InputError(
            f"{name} is too large to upload",
            seen=f"{len(content) / 2**20:.1f} MB",
            remedy=say("too_large", limit=limit),
        )
    suffix = Path(name).suffix.lower()
    if suffix not in AUDIO_ENDINGS:
        raise InputError(f"{name} is not a sound file", seen=suffix, remedy="upload WAV or MP3")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).stem)[:60]
    path = folder / f"upload-{stem or 'sound'}{suffix}"
    path.write_bytes(content)
    return path


def spoken_file(text, language, folder):
    """Speak a text into a WAV file; returns its path."""
    said = tts.synthesize(text, language)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # A job may wait for it while another text is spoken.
    mark = hashlib.sha256(f"{language} {text}".encode()).hexdigest()[:8]
    path = folder / f"spoken-{mark}.wav"
    write_wav(path, said.samples, said.rate_hz)
    return path
