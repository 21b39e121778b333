"""Name a file, or hand one over, and read where it comes from."""

import html
from pathlib import Path

import ipywidgets as w

from heygem.core.errors import HeygemError
from heygem.core.i18n import words
from heygem.experiments import store
from heygem.provenance import trace, trace_report
from heygem.studio.background import LatestTask
from heygem.studio.file_picker import UPLOAD_MB, FilePicker
from heygem.studio.urls import page_url

_COLOURS = {"compliant": "#176f2c", "noncompliant": "#a3131f"}


class Tracer(w.VBox):
    """Four verdicts on a file, the run it comes from, and reports to send.

    Parameters
    ----------
    folder : path
        Where the file browser starts.
    out : path
        Receives files handed over and reports; inside what the page's server serves.
    lang : {"en", "zh", ""}
        Of the file browser.
    """

    def __init__(self, *, folder=".", out="runs/trace", lang=""):
        say = words(lang)
        self.out = Path(out)
        self.worker = LatestTask()
        self.file = FilePicker(say("video"), folder, kind="video", say=say)
        self.upload = w.FileUpload(
            accept="video/*,audio/*,image/*",
            description=f"Hand over a file of up to {UPLOAD_MB} MB",
            layout=w.Layout(width="auto"),
        )
        self.button = w.Button(description="Trace", icon="search", button_style="primary")
        self.told = w.HTML()
        super().__init__([self.file, w.HBox([self.button, self.upload]), self.told])
        self.button.on_click(lambda _: self.trace(self.file.chosen))
        self.upload.observe(self._handed_over, "value")
        self.worker.observe(self._failed, "error")

    def trace(self, path):
        """Read a file; what is found is shown as soon as it is there."""
        if not str(path).strip():
            self.told.value = "Choose a file first."
            return
        self.told.value = "Reading every frame once ..."

        def work(progress, cancel):
            found = trace.trace_file(path)
            return found, self._reports(*found)

        self.worker.submit(work, lambda result: self._show(*result))

    def _reports(self, found, origin, ledger):
        if ledger is None:
            return []
        self.out.mkdir(parents=True, exist_ok=True)
        paths = [self.out / f"{found.path.stem}.{suffix}" for suffix in ("pdf", "md")]
        for path in paths:
            trace_report.write(path, found, origin, ledger, origin and store.run_of(origin.entry))
        return paths

    def _show(self, examined, reports):
        found, origin, _ = examined
        rows = [
            f"<tr><td>{name}</td><td style='color:{_COLOURS.get(layer.verdict, '#555')}'>"
            f"<b>{layer.verdict}</b></td><td>{html.escape('; '.join(layer.findings))}</td></tr>"
            for name, layer in found.layers.items()
        ]
        told = [f"<h3>{html.escape(found.path.name)}: {found.verdict}</h3>",
                f"<table>{''.join(rows)}</table>"]  # fmt: skip
        if origin is None:
            told.append("<p>Not made by this installation, as far as it can tell.</p>")
        else:
            body = origin.entry.body
            facts = {
                "Ledger row": origin.entry.number,
                "Made": f"{origin.entry.time_utc[:19]} UTC",
                "By": body.get("user", ""),
                "As": body.get("title", ""),
                "Found by": ", ".join(origin.evidence),
                **trace.input_summary(body),
            }
            shown = store.run_of(origin.entry)
            if shown is not None:
                facts["MLflow run"] = f"{shown['run_id']} in {shown['folder']}"
            told.append(f"<p><b>{'Made' if origin.is_proven else 'Probably made'} here.</b></p>")
            told.append("<table>" + "".join(
                f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>"
                for k, v in facts.items()
            ) + "</table>")  # fmt: skip
        for path in reports:
            address = html.escape(page_url(path), quote=True)
            told.append(f'<a href="{address}" target="_blank">report as {path.suffix[1:]}</a> ')
        self.told.value = "".join(told)

    def _failed(self, change):
        if change["new"] is not None:
            self.told.value = f'<p role="alert">{html.escape(str(change["new"]))}</p>'

    def _handed_over(self, change):
        if not change["new"]:
            return
        item = change["new"][0]
        self.upload.value = ()
        try:
            path = self._keep(item)
        except (HeygemError, OSError) as error:
            self.told.value = f'<p role="alert">{html.escape(str(error))}</p>'
            return
        self.trace(path)

    def _keep(self, item):
        name = Path(str(item["name"])).name  # a name from outside never leaves the folder
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".")[-80:]
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / (safe or "file")
        path.write_bytes(bytes(item["content"]))
        return path
