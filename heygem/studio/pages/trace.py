"""The trace page: choose or upload a file and read where it comes from."""

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
from heygem.provenance.ledger import Ledger
from heygem.provenance.trace import Origin
from heygem.provenance.verify import Verification
from heygem.studio.background import LatestTask
from heygem.studio.file_picker import MAX_UPLOAD_MB, FilePicker
from heygem.studio.urls import page_url

_COLOURS = {"compliant": "#176f2c", "noncompliant": "#a3131f"}


class TracePage(w.VBox):
    """Four verdicts on a file, the run it comes from, and reports to download.

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
        self.report = w.HTML()
        super().__init__([self.file, w.HBox([self.button, self.upload]), self.report])
        self.button.on_click(lambda _: self.trace(self.file.chosen))
        self.upload.observe(self._uploaded, "value")
        self.task.observe(self._failed, "error")

    def trace(self, path: PathLike) -> None:
        """Trace a file in the background and show the report."""
        if not str(path).strip():
            self.report.value = "Choose a file first."
            return
        self.report.value = "Reading every frame once ..."

        def work(progress: Progress, cancel: threading.Event) -> tuple:
            verification, origin, ledger = trace.trace_file(path)
            return verification, origin, self._write_reports(verification, origin, ledger)

        self.task.submit(work, lambda result: self._show(*result))

    def _write_reports(
        self, verification: Verification, origin: Origin | None, ledger: Ledger | None
    ) -> list[Path]:
        if ledger is None:
            return []
        self.out.mkdir(parents=True, exist_ok=True)
        stem = verification.path.stem
        paths = [self.out / f"{stem}.{suffix}" for suffix in ("pdf", "md")]
        run = store.find_run(origin.entry) if origin else None
        for path in paths:
            trace_report.write(path, verification, origin, ledger, run)
        return paths

    def _show(self, verification: Verification, origin: Origin | None, reports: list[Path]) -> None:
        rows = [
            f"<tr><td>{name}</td><td style='color:{_COLOURS.get(layer.verdict, '#555')}'>"
            f"<b>{layer.verdict}</b></td><td>{html.escape('; '.join(layer.findings))}</td></tr>"
            for name, layer in verification.layers.items()
        ]
        parts = [
            f"<h3>{html.escape(verification.path.name)}: {verification.verdict}</h3>",
            f"<table>{''.join(rows)}</table>",
            _origin_html(origin),
        ]
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


def _origin_html(origin: Origin | None) -> str:
    """The ledger entry and the run that a file comes from."""
    if origin is None:
        return "<p>Not made by this installation, as far as it can tell.</p>"
    body = origin.entry.body
    facts = {
        "Ledger entry": origin.entry.number,
        "Made": f"{origin.entry.time_utc[:19]} UTC",
        "By": body.get("user", ""),
        "As": body.get("title", ""),
        "Evidence": ", ".join(origin.evidence),
        **trace.input_summary(body),
    }
    run = store.find_run(origin.entry)
    if run is not None:
        facts["MLflow run"] = f"{run['run_id']} in {run['folder']}"
    rows = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    verdict = "Made" if origin.is_proven else "Probably made"
    return f"<p><b>{verdict} here.</b></p><table>{rows}</table>"
