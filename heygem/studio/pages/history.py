"""The history tab: what was made, to play, to look up, to take along."""

import html
import os
import shutil
import zipfile
from pathlib import Path

import ipywidgets as w

from heygem.batch import queue
from heygem.config.params import Params
from heygem.core.errors import OutputError, ParameterError
from heygem.core.files import replacing
from heygem.studio.background import LatestTask
from heygem.studio.file_picker import thumbnail
from heygem.studio.player import Player
from heygem.studio.status import StatusBar
from heygem.studio.urls import page_url

MOST = 60  # newest results shown; all are packed


class Gallery(w.VBox):
    """Finished videos of an output folder.

    Parameters
    ----------
    folder : path
        Inside what the page's server serves.
    say : callable
    """

    def __init__(self, folder, *, say):
        self.folder, self.say = Path(folder), say
        self.worker, self.looker = LatestTask(), LatestTask()
        self._pictures, self._shown = {}, None
        self.player = Player(say)
        self.player.mode, self.player.loop = "result_only", False
        self.player.layout.display = "none"
        self.refresh_button = w.Button(description=say("refresh"), icon="refresh")
        self.zip_button = w.Button(description=say("zip"), icon="archive")
        self.link = w.HTML()
        self.about = w.HTML()
        self.trace_button = w.Button(
            description=say("trace"), icon="search", layout=w.Layout(display="none")
        )
        self.traced = w.HTML()
        self.cards = w.Box(layout=w.Layout(flex_flow="row wrap"))
        self.empty = w.HTML()
        buttons = w.HBox(
            [self.refresh_button, self.zip_button, self.link],
            layout=w.Layout(align_items="center"),
        )
        shown = [self.player, self.about, self.trace_button, self.traced]
        super().__init__([buttons, StatusBar(self.worker, say), *shown, self.empty, self.cards])
        self.refresh_button.on_click(lambda _: self.refresh())
        self.zip_button.on_click(lambda _: self.pack())
        self.trace_button.on_click(lambda _: self.trace())
        self.refresh()

    def refresh(self):
        """Look into the folder again, beside the main thread: many videos take their time."""

        def look(progress, cancel):
            found = queue.results(self.folder)
            return found, [self._picture(result["path"]) for result in found[:MOST]]

        self.looker.submit(look, self._show)

    def _show(self, looked):
        found, pictures = looked
        self.cards.children = tuple(map(self._card, found, pictures))
        self.zip_button.disabled = not found
        empty = html.escape(self.say("history_empty", folder=self.folder))
        self.empty.value = "" if found else empty

    def _picture(self, path):
        """Small picture and a line on a video; made once for each version of the file."""
        try:
            key = path, path.stat().st_mtime_ns
            if key not in self._pictures:
                self._pictures[key] = thumbnail(path, 180)
            return self._pictures[key]
        except Exception as error:  # a result that somebody has damaged is shown as it is
            return b"", str(error)

    def _card(self, result, pictured):
        data, words = pictured
        picture = w.Image(value=data, format="jpeg", layout=w.Layout(max_width="180px"))
        name = html.escape(str(result.get("name", result["path"].stem)))
        title = w.HTML(f"<b>{name}</b><br>{html.escape(words)}", layout=w.Layout(width="180px"))
        play = w.Button(description=self.say("show"), icon="play", layout=w.Layout(width="86px"))
        delete = w.Button(description=self.say("delete"), layout=w.Layout(width="86px"))
        play.on_click(lambda _: self.play(result))
        delete.on_click(lambda button: self._delete(button, result))
        return w.VBox(
            [picture, title, w.HBox([play, delete])],
            layout=w.Layout(width="200px", margin="4px"),
        )

    def play(self, result):
        """Show a result and what it was made with."""
        self.player.layout.display = "block"
        self.player.result_url = page_url(result["path"])
        facts = [
            (self.say("video"), result.get("video", {}).get("path")),
            (self.say("audio"), result.get("audio", {}).get("path")),
            ("finished", result.get("finished")),
            ("id", result.get("id")),
            ("sha256", result.get("output", {}).get("sha256")),
        ]
        lines = "".join(f"<div>{k}: <code>{html.escape(str(v))}</code></div>" for k, v in facts)
        title, recipe = html.escape(self.say("made_with")), html.escape(_recipe(result))
        self.about.value = f"{lines}<details><summary>{title}</summary>{_pre(recipe)}</details>"
        self._shown = result
        self.trace_button.layout.display, self.traced.value = "", ""

    def trace(self):
        """Say what the shown file tells of its making, and whether the record agrees."""
        from heygem.provenance import trace, trace_report

        path = self._shown["path"]

        def work(progress, cancel):
            progress(self.say("trace"), 0, 0)
            found, origin, _ = trace.trace_file(path, search=False)
            return trace_report.summary(found, origin)

        def done(text):
            self.traced.value = _pre(html.escape(text))

        self.worker.submit(work, done)

    def _delete(self, button, result):
        if button.description != self.say("confirm_delete"):  # the first press only asks
            button.description, button.button_style = self.say("confirm_delete"), "danger"
            return
        result["path"].unlink(missing_ok=True)
        shutil.rmtree(result["details"], ignore_errors=True)
        if self._shown is not None and self._shown["path"] == result["path"]:
            self.player.result_url, self.player.layout.display = "", "none"
            self.about.value = self.traced.value = ""
            self.trace_button.layout.display, self._shown = "none", None
        self.refresh()

    def pack(self):
        """Put all results into one ZIP, and show the way to it."""

        def work(progress, cancel):
            return pack(queue.results(self.folder), self.folder / "results.zip", progress, cancel)

        def done(packed):
            path, count = packed
            text = self.say("zip_ready", count=count, mb=path.stat().st_size / 1e6)
            # Below the server's base address, whatever page this is on.
            self.link.value = (
                f'<a class="hg-zip" href="{html.escape(_from_page(path), quote=True)}" '
                f'download="{path.name}">⬇ {html.escape(text)}</a>'
            )

        self.link.value = ""
        self.worker.submit(work, done)


def _pre(text):
    return f'<pre style="white-space:pre-wrap;font-size:12px;line-height:1.4">{text}</pre>'


def _recipe(result):
    """The parameters of a result as YAML; what an older version has written, as it is."""
    tree = result.get("params") or {}
    try:
        return Params.from_dict(tree).to_yaml(commented=False)
    except ParameterError:
        return str(tree)


def _from_page(path):
    # JupyterHub puts each user's server below a prefix of its own.
    return os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/") + page_url(path)


def pack(results, target, progress, cancel):
    """Videos and their manifests in one ZIP, stored as they are (video does not shrink).

    Returns
    -------
    (Path, int)
        The file, and how many videos it holds.
    """
    target = Path(target)
    names = set()
    try:
        with (
            replacing(target) as staged,
            zipfile.ZipFile(staged, "w", zipfile.ZIP_STORED) as archive,
        ):
            for k, result in enumerate(results):
                progress("ZIP", k, len(results))
                if cancel.is_set():
                    break
                path = result["path"]
                name = path.name
                if name in names:
                    name = f"{path.stem}-{str(result.get('id', k))[:8]}{path.suffix}"
                names.add(name)
                archive.write(path, name)
                manifest = result["details"] / "manifest.json"
                if manifest.is_file():
                    archive.write(manifest, f"{Path(name).stem}.json")
    except OSError as e:
        raise OutputError(
            f"cannot write the ZIP ({e.strerror})", seen=target, remedy="make room on the disk"
        ) from e
    return target, len(names)
