"""The history page: finished videos to find, play, look up, make again, delete and download."""

import html
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.batch.item import manifest
from heygem.batch.results import archive
from heygem.batch.results.source import recorded_source
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.error_texts import localized
from heygem.core.errors import HeygemError, InputError, OutputError, ParameterError
from heygem.core.i18n import Translate, language_of
from heygem.core.types import PathLike, Progress
from heygem.studio import links, trash
from heygem.studio.background import LatestTask
from heygem.studio.images import data_url, thumbnail
from heygem.studio.player import Player
from heygem.studio.recipe_choice import RecipeChoice, RecipeDropdown
from heygem.studio.result_list import ResultList
from heygem.studio.status import StatusBar, error_html
from heygem.studio.trace_html import trace_html
from heygem.studio.urls import page_url, source_url

MAX_RESULTS = 200  # newest results shown; the ZIP of all holds all
THUMBNAIL_PX = 320

#: Queues a pair with the named style; given by the page that has a queue.
MakeAgain = Callable[[Pair, str], None]


class HistoryPage(w.VBox):
    """Finished videos of an output folder.

    Parameters
    ----------
    folder : path
        Inside the folder that the page's server serves.
    translate : callable
    choice : RecipeChoice, optional
        Names the recipe of a result, and offers others.
    make_again : callable, optional
        Makes a result again with another recipe.
    """

    def __init__(
        self,
        folder: PathLike,
        *,
        translate: Translate,
        choice: RecipeChoice | None = None,
        make_again: MakeAgain | None = None,
    ) -> None:
        self.folder, self.translate = Path(folder), translate
        self.task, self.listing_task = LatestTask(), LatestTask()
        self.choice = choice or RecipeChoice(Params(), "params", translate)
        self._make_again = make_again
        self._thumbnails: dict[tuple[Path, int], str] = {}
        self._results: dict[str, dict[str, Any]] = {}  # by id
        self._selected: dict[str, Any] | None = None
        self._wished = links.query().get("result", "")
        self.player = Player(translate, autoplay=True, downloadable=True, streamed=True)
        self.player.mode, self.player.loop = "side", False
        self.list = ResultList(translate)
        self.refresh_button = w.Button(description=translate("refresh"), icon="refresh")
        self.zip_button = w.Button(description=translate("zip"), icon="archive")
        self.delete_button = w.Button(description=translate("delete_chosen"), icon="trash")
        self.download_link, self.details = w.HTML(), w.HTML()
        self.trace_button = w.Button(description=translate("trace"), icon="search")
        self.again_recipe = RecipeDropdown(self.choice, translate)
        self.again_button = w.Button(
            description=translate("make_again"), icon="refresh", layout=w.Layout(width="auto")
        )
        self.source_task, self.source_note = LatestTask(), w.HTML()
        self.trace_task = LatestTask()
        self.trace_status = StatusBar(self.trace_task, translate, keeps_place=False)
        self.trace_text, self.message = w.HTML(), w.HTML()
        self.trash, self.empty = w.VBox(), w.HTML()
        super().__init__(self._build())
        self._connect()
        self._choice_changed()
        self.refresh()

    def _build(self) -> list[w.Widget]:
        again = [self.again_recipe, self.again_button] if self._make_again else []
        self.selection = w.VBox(
            [
                self.player,
                self.source_note,
                w.HBox([*again, self.trace_button, self.trace_status], layout=_row()),
                self.details,
                self.trace_text,
            ],
            layout=w.Layout(display="none"),
        )
        self.selection.add_class("hg-card")
        self.zip_status = StatusBar(self.task, self.translate, keeps_place=False)
        buttons = [self.zip_button, self.delete_button, self.refresh_button, self.download_link]
        self.buttons = w.HBox([*buttons, self.zip_status], layout=_row())
        below = [self.message, self.buttons, self.list, self.empty, self.trash]
        return [self.selection, *below]

    def _connect(self) -> None:
        self.refresh_button.on_click(lambda _: self.refresh())
        self.zip_button.on_click(lambda _: self.make_zip())
        self.delete_button.on_click(lambda _: self.delete_chosen())
        self.trace_button.on_click(lambda _: self.trace())
        self.again_button.on_click(lambda _: self.make_again())
        self.list.observe(lambda _: self._choice_changed(), "chosen")
        self.list.observe(lambda change: self._requested(change["new"]), "request")

    def refresh(self) -> None:
        """List the folder again, in the background: thumbnails of many videos take time."""

        def work(progress: Progress, cancel: threading.Event) -> list[tuple[dict, dict]]:
            results = manifest.results(self.folder)[:MAX_RESULTS]
            return [(result, self._row(result)) for result in results]

        self.listing_task.submit(work, self._show_results)

    def _show_results(self, listing: list[tuple[dict, dict]]) -> None:
        self._results = {row["id"]: result for result, row in listing}
        with self.list.hold_sync():
            self.list.rows = [row for _, row in listing]
            self.list.chosen = [name for name in self.list.chosen if name in self._results]
        self.zip_button.disabled = not listing
        self.buttons.layout.display = "" if listing else "none"
        text = html.escape(self.translate("history_empty", folder=self.folder))
        self.empty.value = "" if listing else f'<p class="hg-empty-state">{text}</p>'
        self.again_recipe.refresh()
        self._show_trash()
        wished = self._results.get(self._wished) or self._made_as(self._wished)
        if wished is not None:  # by a link to one result, or from the queue
            self.play(wished)
        elif self._wished:
            missing = InputError(
                "this video is not among the results of this page",
                seen=self._wished,
                remedy="it was deleted, moved or written to another folder",
            )
            self.message.value = error_html(missing, self.translate, with_traceback=False)
        self._wished = ""

    def wish(self, path: PathLike) -> None:
        """Play the result at a path once the results are listed."""
        self._wished, self.message.value = self._id_at(path), ""

    def _id_of(self, result: dict[str, Any]) -> str:
        """What tells a result from all others: its path. Two may be made alike, under two names."""
        return self._id_at(result["path"])

    def _id_at(self, path: PathLike) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def _made_as(self, identity: str) -> dict[str, Any] | None:
        """A result by what it was made of: links of earlier versions name that."""
        alike = [each for each in self._results.values() if each.get("id") == identity]
        return alike[0] if identity and alike else None

    def _row(self, result: dict[str, Any]) -> dict[str, Any]:
        """A result as a row of `ResultList`."""
        output, measures = result.get("output") or {}, result.get("measures") or {}
        return {
            "id": self._id_of(result),
            "name": str(result.get("name", result["path"].stem)),
            "date": str(result.get("finished", "")),
            "person": Path((result.get("video") or {}).get("path") or "").name,
            "sound": Path((result.get("audio") or {}).get("path") or "").name,
            "recipe": self._recipe_name(result),
            "length_s": output.get("duration_s"),
            "bytes": output.get("bytes"),
            "av_corr": measures.get("av_corr"),
            "picture": self._thumbnail(result["path"]),
            "link": links.page_link("studio", result=self._id_of(result)),
        }

    def _recipe_name(self, result: dict[str, Any]) -> str:
        try:
            return self.choice.describe(Params.from_dict(result.get("params") or {}))
        except HeygemError:  # of another version
            return self.translate("own_recipe")

    def _thumbnail(self, path: Path) -> str:
        """Thumbnail of a video as a data URL; made once for each version of the file."""
        try:
            key = path, path.stat().st_mtime_ns
            if key not in self._thumbnails:
                self._thumbnails[key] = data_url(thumbnail(path, THUMBNAIL_PX)[0])
            return self._thumbnails[key]
        except Exception:  # a damaged result is listed all the same
            return ""

    def _requested(self, request: dict[str, Any]) -> None:
        result = self._results.get(str(request.get("id")))
        if result is not None and request.get("action") == "show":
            self.play(result)
        elif result is not None and request.get("action") == "delete":
            self.delete(result)

    def _choice_changed(self) -> None:
        chosen = len(self.list.chosen)
        key = "zip_chosen" if chosen else "zip"
        self.zip_button.description = self.translate(key, **({"count": chosen} if chosen else {}))
        self.delete_button.disabled = not chosen

    def _chosen(self) -> list[dict[str, Any]]:
        return [self._results[name] for name in self.list.chosen if name in self._results]

    def play(self, result: dict[str, Any]) -> None:
        """Show a result beside its source, with its inputs and parameters."""
        self.selection.layout.display = ""
        with self.player.hold_sync():
            self.player.source_url, self.player.mode = "", "result_only"
            self.player.result_url = page_url(result["path"])
        self.list.selected = self._id_of(result)
        self._show_source(result)
        facts = [
            (self.translate("video"), result.get("video", {}).get("path")),
            (self.translate("audio"), result.get("audio", {}).get("path")),
            (self.translate("finished"), result.get("finished")),
            ("id", result.get("id")),
            ("sha256", result.get("output", {}).get("sha256")),
        ]
        lines = "".join(f"<div>{k}: <code>{html.escape(str(v))}</code></div>" for k, v in facts)
        title, recipe = html.escape(self.translate("made_with")), html.escape(_recipe(result))
        self.details.value = f"<details><summary>{title}</summary>{lines}{_pre(recipe)}</details>"
        self._selected, self.trace_text.value = result, ""

    def _show_source(self, result: dict[str, Any]) -> None:
        """Show the source beside the result once it is known to be the recorded one."""
        self.source_note.value = ""

        def work(progress: Progress, cancel: threading.Event) -> tuple[str, str]:
            try:
                return _source_url(result), ""
            except HeygemError as error:
                return "", localized(error.what, language_of(self.translate))

        def show(found: tuple[str, str]) -> None:
            with self.player.hold_sync():
                self.player.source_url, why = found
                self.player.mode = "side" if self.player.source_url else "result_only"
            self.source_note.value = html.escape(why)

        self.source_task.submit(work, show)

    def make_again(self) -> None:
        """Queue the selected result's person and sound with the chosen recipe."""
        if self._selected is None or self._make_again is None:
            return
        self.message.value = ""
        try:
            pair = _pair_of(self._selected)
            self._make_again(pair, str(self.again_recipe.value))
            self.message.value = html.escape(self.translate("queued"))
        except HeygemError as error:
            self.message.value = error_html(error, self.translate)

    def trace(self) -> None:
        """Read the provenance of the selected file and compare it with the ledger."""
        from heygem.provenance import trace

        if self._selected is None:
            return
        path, self.trace_text.value = self._selected["path"], ""

        def work(progress: Progress, cancel: threading.Event) -> str:
            progress("trace", 0, 0)
            traced = trace.trace_file(path, search=False)
            return trace_html(traced, None, lang=language_of(self.translate))

        def show(text: str) -> None:
            self.trace_text.value = text

        self.trace_task.submit(work, show)

    def delete(self, *results: dict[str, Any]) -> None:
        """Set results aside; for a week they can be put back. A ZIP that holds one is removed."""
        try:
            for result in results:
                trash.delete(result, self.folder)
                if self._selected is not None and self._selected["path"] == result["path"]:
                    self._forget_selected()
        except HeygemError as error:
            self.message.value = error_html(error, self.translate)
            return
        archive.remove_stale(self.folder)
        self.download_link.value = ""
        names = ", ".join(result["path"].name for result in results[:3])
        names += " …" if len(results) > 3 else ""
        self.message.value = html.escape(self.translate("deleted", name=names))
        self.refresh()

    def delete_chosen(self) -> None:
        """Set the results that are ticked aside."""
        self.delete(*self._chosen())

    def _forget_selected(self) -> None:
        self.player.result_url = self.player.source_url = self.list.selected = ""
        self.selection.layout.display, self._selected = "none", None
        self.details.value = self.trace_text.value = self.source_note.value = ""

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
        self.trash.children = (*rows, w.HBox([button]))

    def _empty_trash(self) -> None:
        trash.empty(self.folder)
        self.message.value = ""
        self._show_trash()

    def make_zip(self) -> None:
        """Write all results, or those that are ticked, into one ZIP file and show a link to it."""
        chosen = self._chosen()

        def work(progress: Progress, cancel: threading.Event) -> tuple[Path, int]:
            results = chosen or manifest.results(self.folder)
            return archive.write_results(results, self.folder / archive.NAME, progress, cancel)

        def show(written: tuple[Path, int]) -> None:
            path, count = written
            text = self.translate("zip_ready", count=count, mb=path.stat().st_size / 1e6)
            self.download_link.value = (
                f'<a class="hg-zip hg-link" href="{html.escape(_absolute_url(path), quote=True)}" '
                f'download="{path.name}">⬇ {html.escape(text)}</a>'
            )

        self.download_link.value = ""
        self.task.submit(work, show)


def _pair_of(result: dict[str, Any]) -> Pair:
    """Person and sound of a result.

    Raises
    ------
    InputError
        One of its files is gone.
    """
    inputs = (result.get("params") or {}).get("inputs") or {}
    video, audio = (result.get("video") or {}).get("path"), (result.get("audio") or {}).get("path")
    text = inputs.get("text")
    for path in (video, None if text else audio):
        if path is not None and not Path(path).exists():
            raise InputError(f"no such file: {path}", remedy="Check the spelling and the folder.")
    return Pair(video=video or "", audio=None if text else audio, text=text)


def _source_url(result: dict[str, Any]) -> str:
    """Address of the source.

    Raises
    ------
    InputError
        It cannot be shown; the message says why.
    """
    path, _ = recorded_source(result)
    try:
        return page_url(path)
    except OutputError:  # outside the folder that Jupyter serves
        return source_url(result["details"])


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


def _row() -> w.Layout:
    """One for each row: `display` hides all that share a layout."""
    return w.Layout(flex_flow="row wrap", align_items="center")
