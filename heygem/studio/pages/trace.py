"""The trace page: choose or upload a file and read what it is and where it comes from."""

import html
import threading
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.core.errors import HeygemError
from heygem.core.i18n import translator
from heygem.core.types import PathLike, Progress
from heygem.experiments import store
from heygem.provenance import trace, trace_report
from heygem.provenance.trace import Trace
from heygem.studio.background import LatestTask
from heygem.studio.file_picker import MAX_UPLOAD_MB, FilePicker
from heygem.studio.urls import page_url

_COLOURS = {"compliant": "#176f2c", "noncompliant": "#a3131f"}


class TracePage(w.VBox):
    """The conclusion about a file, the run it comes from, and reports to download.

    Parameters
    ----------
    folder : path
        Initial folder of the file browser.
    out : path
        Receives uploaded files and reports; inside the folder that the page's server serves.
    lang : {"en", "zh", ""}
        Language of the file browser.
    """

    def __init__(
        self, *, folder: PathLike = ".", out: PathLike = "runs/trace", lang: str = ""
    ) -> None:
        translate = translator(lang)
        self.out = Path(out)
        self.task = LatestTask()
        self.file = FilePicker(translate("video"), folder, kind="video")
        self.upload = w.FileUpload(
            accept="video/*,audio/*,image/*",
            description=f"Upload a file of up to {MAX_UPLOAD_MB} MB",
            layout=w.Layout(width="auto"),
        )
        self.button = w.Button(description="Trace", icon="search", button_style="primary")
        self.redacted = w.Checkbox(
            description="Redacted: no names of users, files and folders",
            value=False,
            indent=False,
            layout=w.Layout(width="auto"),
        )
        self.report = w.HTML()
        buttons = w.HBox([self.button, self.upload, self.redacted])
        super().__init__([self.file, buttons, self.report])
        self.button.on_click(lambda _: self.trace(self.file.chosen))
        self.upload.observe(self._uploaded, "value")
        self.task.observe(self._failed, "error")

    def trace(self, path: PathLike) -> None:
        """Trace a file in the background and show the report."""
        if not str(path).strip():
            self.report.value = "Choose a file first."
            return
        self.report.value = "Reading every frame once ..."

        redacted = self.redacted.value

        def work(progress: Progress, cancel: threading.Event) -> tuple[str, list[Path]]:
            traced = trace.trace_file(path)
            run = store.find_run(traced.origin.entry) if traced.origin else None
            content = _trace_html(traced, run, redacted)
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
            parts.append(f'<a href="{address}" target="_blank">report as {path.suffix[1:]}</a> ')
        self.report.value = "".join(parts)

    def _failed(self, change: dict[str, Any]) -> None:
        if change["new"] is not None:
            self.report.value = f'<p role="alert">{html.escape(str(change["new"]))}</p>'

    def _uploaded(self, change: dict[str, Any]) -> None:
        if not change["new"]:
            return
        item = change["new"][0]
        self.upload.value = ()
        try:
            path = self._save_upload(item)
        except (HeygemError, OSError) as error:
            self.report.value = f'<p role="alert">{html.escape(str(error))}</p>'
            return
        self.trace(path)

    def _save_upload(self, item: dict[str, Any]) -> Path:
        name = Path(str(item["name"])).name  # the name of an upload cannot leave the folder
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".")[-80:]
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / (safe or "file")
        path.write_bytes(bytes(item["content"]))
        return path


def _trace_html(traced: Trace, run: trace_report.Run | None, redacted: bool) -> str:
    """The conclusion, what it rests on, the run, and the labels."""
    parts = trace_report.report_parts(traced, run, redacted=redacted)
    shown = [part for part in parts if part.kind in ("title", "heading", "text", "list", "table")]
    colour = _COLOURS.get(traced.verdict, "#555")
    verdict = f"<p style='color:{colour}'><b>{traced.verdict}: {traced.conclusion}</b></p>"
    title, *rest = (_part_html(part) for part in shown)
    return "".join([title, verdict, *rest])


def _part_html(part: trace_report.Part) -> str:
    if part.kind == "list":
        return f"<ul>{''.join(f'<li>{html.escape(str(each))}</li>' for each in part.content)}</ul>"
    if part.kind == "table":
        rows = [
            f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>"
            for row in part.content
        ]
        return f"<table>{''.join(rows)}</table>"
    tag = {"title": "h3", "heading": "h4"}.get(part.kind, "p")
    return f"<{tag}>{html.escape(str(part.content))}</{tag}>"
