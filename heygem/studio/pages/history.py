"""The history page: finished videos to play, look up, delete and download."""

import html
import os
import threading
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.batch.item import manifest
from heygem.batch.results import archive
from heygem.config.params import Params
from heygem.core.errors import HeygemError, ParameterError
from heygem.core.i18n import Translate
from heygem.core.types import PathLike, Progress
from heygem.studio import trash
from heygem.studio.background import LatestTask
from heygem.studio.images import thumbnail
from heygem.studio.player import Player
from heygem.studio.status import StatusBar, error_html
from heygem.studio.trace_html import trace_html
from heygem.studio.urls import page_url

MAX_RESULTS = 60  # newest results shown; the ZIP holds all
THUMBNAIL_PX = 180


class HistoryPage(w.VBox):
    """Finished videos of an output folder.

    Parameters
    ----------
    folder : path
        Inside the folder that the page's server serves.
    translate : callable
    """

    def __init__(self, folder: PathLike, *, translate: Translate) -> None:
        self.folder, self.translate = Path(folder), translate
        self.task, self.listing_task = LatestTask(), LatestTask()
        self._thumbnails: dict[tuple[Path, int], tuple[bytes, str]] = {}
        self._selected: dict[str, Any] | None = None
        self.player = Player(translate, autoplay=True, downloadable=True)
        self.player.mode, self.player.loop = "result_only", False
        self.player.layout.display = "none"
        self.refresh_button = w.Button(description=translate("refresh"), icon="refresh")
        self.zip_button = w.Button(description=translate("zip"), icon="archive")
        self.download_link = w.HTML()
        self.details = w.HTML()
        self.trace_button = w.Button(
            description=translate("trace"), icon="search", layout=w.Layout(display="none")
        )
        self.trace_task = LatestTask()
        self.trace_status = StatusBar(self.trace_task, translate)
        self.trace_text = w.HTML()
        self.message = w.HTML()
        self.trash = w.VBox()
        self.cards = w.Box(layout=w.Layout(flex_flow="row wrap"))
        self.empty = w.HTML()
        buttons = w.HBox(
            [self.refresh_button, self.zip_button, self.download_link],
            layout=w.Layout(align_items="center"),
        )
        selected = [
            self.player,
            self.details,
            w.HBox([self.trace_button, self.trace_status], layout=w.Layout(align_items="center")),
            self.trace_text,
        ]
        status = StatusBar(self.task, translate)
        super().__init__(
            [buttons, status, *selected, self.message, self.empty, self.cards, self.trash]
        )
        self.refresh_button.on_click(lambda _: self.refresh())
        self.zip_button.on_click(lambda _: self.make_zip())
        self.trace_button.on_click(lambda _: self.trace())
        self.refresh()

    def refresh(self) -> None:
        """List the folder again, in the background: thumbnails of many videos take time."""

        def work(progress: Progress, cancel: threading.Event) -> tuple[list, list]:
            results = manifest.results(self.folder)
            newest = results[:MAX_RESULTS]
            return results, [self._thumbnail(result["path"]) for result in newest]

        self.listing_task.submit(work, lambda listing: self._show_results(*listing))

    def _show_results(self, results: list[dict], thumbnails: list[tuple[bytes, str]]) -> None:
        # `thumbnails` may be the shorter one: it ends after MAX_RESULTS.
        pairs = zip(results, thumbnails, strict=False)
        self.cards.children = tuple(self._card(result, *picture) for result, picture in pairs)
        self.zip_button.disabled = not results
        empty = html.escape(self.translate("history_empty", folder=self.folder))
        self.empty.value = "" if results else empty
        self._show_trash()

    def _thumbnail(self, path: Path) -> tuple[bytes, str]:
        """Thumbnail and description of a video; made once for each version of the file."""
        try:
            key = path, path.stat().st_mtime_ns
            if key not in self._thumbnails:
                self._thumbnails[key] = thumbnail(path, THUMBNAIL_PX)
            return self._thumbnails[key]
        except Exception as error:  # a damaged result is listed with its error
            return b"", str(error)

    def _card(self, result: dict[str, Any], data: bytes, description: str) -> w.VBox:
        translate = self.translate
        picture = w.Image(value=data, format="jpeg", layout=_wide("180px"))
        name = html.escape(str(result.get("name", result["path"].stem)))
        title = w.HTML(f"<b>{name}</b><br>{html.escape(description)}", layout=_wide("180px"))
        play = w.Button(description=translate("show"), icon="play", layout=_wide("86px"))
        delete = w.Button(description=translate("delete"), layout=_wide("86px"))
        for button in (play, delete):
            button.tooltip = f"{button.description}: {result['path'].stem}"
        play.on_click(lambda _: self.play(result))
        delete.on_click(lambda _: self.delete(result))
        return w.VBox(
            [picture, title, w.HBox([play, delete])],
            layout=w.Layout(width="200px", margin="4px"),
        )

    def play(self, result: dict[str, Any]) -> None:
        """Show a result with its inputs and parameters."""
        self.player.layout.display = "block"
        self.player.result_url = page_url(result["path"])
        facts = [
            (self.translate("video"), result.get("video", {}).get("path")),
            (self.translate("audio"), result.get("audio", {}).get("path")),
            (self.translate("finished"), result.get("finished")),
            ("id", result.get("id")),
            ("sha256", result.get("output", {}).get("sha256")),
        ]
        lines = "".join(f"<div>{k}: <code>{html.escape(str(v))}</code></div>" for k, v in facts)
        title, recipe = html.escape(self.translate("made_with")), html.escape(_recipe(result))
        self.details.value = f"{lines}<details><summary>{title}</summary>{_pre(recipe)}</details>"
        self._selected = result
        self.trace_button.layout.display, self.trace_text.value = "", ""

    def trace(self) -> None:
        """Read the provenance of the selected file and compare it with the ledger."""
        from heygem.provenance import trace

        if self._selected is None:
            return
        path, self.trace_text.value = self._selected["path"], ""

        def work(progress: Progress, cancel: threading.Event) -> str:
            progress("trace", 0, 0)
            return trace_html(trace.trace_file(path, search=False), None)

        def show(text: str) -> None:
            self.trace_text.value = text

        self.trace_task.submit(work, show)

    def delete(self, result: dict[str, Any]) -> None:
        """Set a result aside; for a week it can be put back. The ZIP that holds it is removed."""
        try:
            trash.delete(result, self.folder)
        except HeygemError as error:
            self.message.value = error_html(error, self.translate)
            return
        archive.remove_stale(self.folder)
        self.download_link.value = ""
        if self._selected is not None and self._selected["path"] == result["path"]:
            self.player.result_url, self.player.layout.display = "", "none"
            self.details.value = self.trace_text.value = ""
            self.trace_button.layout.display, self._selected = "none", None
        self.message.value = html.escape(self.translate("deleted", name=result["path"].name))
        self.refresh()

    def restore(self, item: trash.Deleted) -> None:
        """Put a deleted result back."""
        self.message.value = ""
        try:
            trash.restore(item)
        except HeygemError as error:
            self.message.value = error_html(error, self.translate)
        self.refresh()

    def _show_trash(self) -> None:
        """A row for each deleted result, with a button that puts it back."""
        items = trash.list_deleted(self.folder)
        if not items:
            self.trash.children = ()
            return
        rows: list[w.Widget] = [w.HTML(html.escape(self.translate("trash", count=len(items))))]
        for item in items[:MAX_RESULTS]:
            button = w.Button(description=self.translate("restore"), icon="undo")
            button.tooltip = f"{button.description}: {item.name}"
            button.on_click(lambda _, item=item: self.restore(item))
            rows.append(w.HBox([button, w.HTML(html.escape(item.name))]))
        button = w.Button(description=self.translate("empty_trash"), icon="trash")
        button.on_click(lambda _: self._empty_trash())
        self.trash.children = (*rows, button)

    def _empty_trash(self) -> None:
        trash.empty(self.folder)
        self.message.value = ""
        self._show_trash()

    def make_zip(self) -> None:
        """Write all results into one ZIP file and show a link to it."""

        def work(progress: Progress, cancel: threading.Event) -> tuple[Path, int]:
            results = manifest.results(self.folder)
            return archive.write_results(results, self.folder / archive.NAME, progress, cancel)

        def show(written: tuple[Path, int]) -> None:
            path, count = written
            text = self.translate("zip_ready", count=count, mb=path.stat().st_size / 1e6)
            self.download_link.value = (
                f'<a class="hg-zip" href="{html.escape(_absolute_url(path), quote=True)}" '
                f'download="{path.name}">⬇ {html.escape(text)}</a>'
            )

        self.download_link.value = ""
        self.task.submit(work, show)


def _wide(width: str) -> w.Layout:
    return w.Layout(width=width)


def _pre(text: str) -> str:
    return f'<pre style="white-space:pre-wrap;font-size:12px;line-height:1.4">{text}</pre>'


def _recipe(result: dict[str, Any]) -> str:
    """The parameters of a result as YAML; those of an older version as they are."""
    tree = result.get("params") or {}
    try:
        return Params.from_dict(tree).to_yaml(commented=False)
    except ParameterError:
        return str(tree)


def _absolute_url(path: PathLike) -> str:
    """Address below the server's base URL; JupyterHub adds a prefix for each user."""
    return os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/") + page_url(path)
