"""The trace page: choose or upload a file and read what it is and where it comes from."""

import html
import threading
from pathlib import Path

import ipywidgets as w

from heygem.batch.input_files import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from heygem.core.i18n import language_of, translator
from heygem.core.types import PathLike, Progress
from heygem.experiments import store
from heygem.provenance import trace, trace_report
from heygem.provenance.trace import Trace
from heygem.studio.background import LatestTask
from heygem.studio.file_picker import FilePicker
from heygem.studio.status import StatusBar
from heygem.studio.style import PageStyle
from heygem.studio.trace_html import trace_html
from heygem.studio.urls import page_url


class TracePage(w.VBox):
    """The conclusion about a file, the run it comes from, and reports to download.

    Parameters
    ----------
    folder : path
        Initial folder of the file browser.
    out : path
        Receives reports; inside the folder that the page's server serves.
    lang : {"en", "zh", ""}
        Language of the page; the reports to download are in English.
    """

    def __init__(
        self, *, folder: PathLike = ".", out: PathLike = "runs/trace", lang: str = ""
    ) -> None:
        self.translate = translate = translator(lang)
        self.out = Path(out)
        self.task = LatestTask()
        self.file = FilePicker(
            translate("file"), folder, kind="video", translate=translate, check=False
        )
        self.file.uploader.suffixes = sorted(VIDEO_SUFFIXES | AUDIO_SUFFIXES)
        self.button = w.Button(
            description=translate("trace"), icon="search", button_style="primary"
        )
        self.redacted = w.Checkbox(
            description=translate("trace_redacted"),
            value=False,
            indent=False,
            layout=w.Layout(width="auto"),
        )
        self.report = w.HTML()
        self.status = StatusBar(self.task, translate)
        buttons = w.HBox([self.button, self.redacted])
        choosing = w.VBox([self.file, buttons])
        choosing.add_class("hg-card")
        super().__init__([PageStyle(), choosing, self.status, self.report])
        self.button.on_click(lambda _: self.trace(self.file.chosen))

    def trace(self, path: PathLike) -> None:
        """Trace a file in the background and show the report."""
        if not str(path).strip():
            self.report.value = html.escape(self.translate("trace_choose"))
            return
        self.report.value = ""
        redacted = self.redacted.value

        def work(progress: Progress, cancel: threading.Event) -> tuple[str, list[Path]]:
            progress("trace", 0, 0)
            traced = trace.trace_file(path)
            run = store.find_run(traced.origin.entry) if traced.origin else None
            content = trace_html(traced, run, redacted, lang=language_of(self.translate))
            return content, self._write_reports(traced, run, redacted)

        self.task.submit(work, lambda result: self._show(*result))

    def _write_reports(
        self, traced: Trace, run: trace_report.Run | None, redacted: bool
    ) -> list[Path]:
        self.out.mkdir(parents=True, exist_ok=True)
        path = traced.verification.path
        stem = f"redacted-{traced.verification.sha256[:16]}" if redacted else path.stem
        paths = [self.out / f"{stem}.{suffix}" for suffix in ("pdf", "md")]
        for path in paths:
            trace_report.write(path, traced, run, redacted=redacted)
        return paths

    def _show(self, content: str, reports: list[Path]) -> None:
        parts = [content]
        for path in reports:
            address = html.escape(page_url(path), quote=True)
            text = html.escape(self.translate("trace_report", kind=path.suffix[1:]))
            parts.append(f'<a href="{address}" target="_blank">{text}</a> ')
        self.report.value = "".join(parts)
