"""Choose files: those on the server, or one's own, which are sent there over HTTP."""

import html
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets

from heygem.batch.input_files import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Kind
from heygem.core.errors import HeygemError, InputError
from heygem.core.i18n import Translate, translator
from heygem.core.types import PathLike
from heygem.media import BUNDLE_SUFFIX
from heygem.studio.file_check import FileVerdicts
from heygem.studio.images import thumbnail
from heygem.studio.recent_files import add_recent, recent_files
from heygem.studio.status import error_line
from heygem.studio.thumbnail_strip import ThumbnailStrip
from heygem.studio.uploader import Uploader, upload_folder

ROWS = 8  # of a list
SAMPLES = Path(__file__).resolve().parents[2] / "samples"  # of a checkout
MAX_UPLOAD_MB = 8  # of what passes through the widget socket, which breaks near 10 MB: recordings

_SUFFIXES = {"audio": AUDIO_SUFFIXES, "video": VIDEO_SUFFIXES}


def list_folder(folder: PathLike, suffixes: frozenset[str]) -> list[tuple[str, Path]]:
    """Subfolders, then files with some suffixes, each by name; hidden ones are left out.

    Parameters
    ----------
    folder : path
    suffixes : set of str
        Lower-case, with the dot.

    Returns
    -------
    list of (label, Path)
        The first entry is the parent folder.

    Raises
    ------
    InputError
        The folder cannot be read.
    """
    folder = Path(folder)
    try:
        paths = [p for p in folder.iterdir() if not p.name.startswith(".")]
        matching = {p for p in paths if p.suffix.lower() in suffixes}
        bundles = {p for p in matching if p.suffix == BUNDLE_SUFFIX and p.is_dir()}
        folders = sorted((p for p in paths if p.is_dir()), key=lambda p: p.name.lower())
        folders = [p for p in folders if p not in bundles]
        files = [p for p in matching if p in bundles or p.is_file()]
    except OSError as e:
        raise InputError(
            "cannot read the folder", seen=folder, remedy="check its name and your permissions"
        ) from e
    files.sort(key=lambda p: p.name.lower())
    parent = [("../", folder.parent)] if folder.parent != folder else []
    return parent + [(f"{p.name}/", p) for p in folders] + [(p.name, p) for p in files]


def list_recent(kind: Kind, folder: PathLike, suffixes: frozenset[str]) -> list[tuple[str, Path]]:
    """The way back to a folder, then the files lately chosen, each with the folder it is in."""
    files = [path for path in recent_files(kind) if path.suffix.lower() in suffixes]
    return [("../", Path(folder))] + [(f"{p.name}  ({p.parent.name})", p) for p in files]


def _recent_button(translate: Translate) -> w.Button:
    return w.Button(
        description=translate("recent_files"), icon="history", layout=w.Layout(width="auto")
    )


def opening_folder(folder: PathLike, kind: Kind) -> Path:
    """Where a picker opens: files that were sent, else examples, rather than a checkout's code.

    Any other folder is opened as it is.
    """
    folder = Path(folder).resolve()
    if SAMPLES.parent != folder:
        return folder
    for known in (upload_folder(), SAMPLES):
        if known.is_dir() and any(p.suffix.lower() in _SUFFIXES[kind] for p in known.iterdir()):
            return known
    return folder


class FilePicker(w.VBox):
    """A small file browser that shows a thumbnail of the chosen file.

    Parameters
    ----------
    title : str
    folder : path
        Initial folder.
    kind : {"audio", "video"}
    translate : callable, optional
        Language of the page; by default as `HEYGEM_LANG` says.
    check : bool
        Whether to judge the file as a source.

    Attributes
    ----------
    verdicts : heygem.studio.file_check.FileVerdicts
        What a quick look at the chosen file says.
    uploader : heygem.studio.uploader.Uploader
        Files sent with it are chosen.
    chosen : str
        Path of the chosen file, empty for none. Setting it shows the file.
    """

    chosen = traitlets.Unicode("")

    def __init__(
        self,
        title: str,
        folder: PathLike,
        *,
        kind: Kind,
        translate: Translate | None = None,
        check: bool = True,
    ) -> None:
        self._translate = translate = translate or translator()
        self._kind, self._suffixes, self._checks = kind, _SUFFIXES[kind], check
        self.uploader = Uploader(
            translate, self._uploaded, kind=kind, suffixes=self._suffixes, title=title
        )
        self.recent_button = _recent_button(translate)
        self.recent_button.on_click(lambda _: self.show_recent())
        self._shows_recent, self._list_title = False, ""
        self.verdicts = FileVerdicts(kind, translate)
        self.path = w.Text(
            tooltip=title, continuous_update=False, layout=w.Layout(flex="1 1 auto", min_width="0")
        )
        self.folder_name = w.HTML()
        self.list = w.Select(rows=ROWS, tooltip=title, layout=w.Layout(width="100%"))
        small = w.Layout(display="none", max_width="220px", max_height="130px")
        small.object_fit, small.object_position = "contain", "left"
        self.picture = w.Image(format="jpeg", layout=small)
        self.details = w.HTML()
        self.strip = ThumbnailStrip(thumbnail)
        self.strip.observe(self._thumbnail_clicked, "clicked")
        strips = [self.strip] if kind == "video" else []
        super().__init__(
            [
                _title(title),
                self.uploader,
                w.HBox([self.recent_button, self.path], layout=_centred()),
                self.folder_name,
                self.list,
                *strips,
                self.picture,
                self.details,
                self.verdicts,
            ],
            layout=w.Layout(flex="1 1 340px", max_width="1080px"),
        )
        self.add_class("hg-picker")
        self.folder = opening_folder(folder, kind)
        self._updating = False
        self.list.observe(self._entry_selected, "value")
        self.path.observe(self._path_entered, "value")
        self.observe(lambda change: self._show_file(change["new"]), "chosen")
        self.show_folder(self.folder)

    def show_folder(self, folder: PathLike) -> None:
        """List a folder; an error is shown below the list."""
        try:
            options = list_folder(folder, self._suffixes)
        except HeygemError as error:
            self.details.value = html.escape(error_line(error, self._translate))
            return
        self.folder, self._shows_recent = Path(folder), False
        self._show_entries(str(folder), options)

    def show_recent(self) -> None:
        """List the files that were lately chosen on this project's pages."""
        self._shows_recent = True
        self._show_entries(
            self._translate("recent_files"), list_recent(self._kind, self.folder, self._suffixes)
        )

    def _show_entries(self, title: str, options: list[tuple[str, Path]]) -> None:
        self._list_title = self.path.placeholder = title
        self._show_title()
        self._updating = True
        try:
            self.list.options = options
        finally:
            self._updating = False
        self._mark_chosen()
        if self._kind == "video":
            self.strip.show([path for _, path in options if not _is_plain_folder(path)])

    def _mark_chosen(self) -> None:
        """Select the chosen file in the list, where it is in it."""
        chosen = Path(self.chosen).absolute() if self.chosen else None
        self._updating = True
        try:
            self.list.value = chosen if chosen in [path for _, path in self.list.options] else None
        finally:
            self._updating = False

    def _show_title(self) -> None:
        """Say which folder is listed, where the field above does not."""
        is_said = not self.chosen or str(Path(self.chosen).absolute().parent) == self._list_title
        self.folder_name.value = f'<span class="hg-folder">{html.escape(self._list_title)}</span>'
        self.folder_name.layout.display = "none" if is_said else ""

    def _uploaded(self, path: Path) -> None:
        self.show_folder(path.parent)  # read anew: the file was not there
        self.chosen = str(path)

    def _thumbnail_clicked(self, change: dict[str, Any]) -> None:
        self.chosen = change["new"].get("path", "")

    def _entry_selected(self, change: dict[str, Any]) -> None:
        path = change["new"]
        if self._updating or path is None:
            return
        if _is_plain_folder(path):
            self.show_folder(path.resolve())
        else:
            self.chosen = str(path)

    def _path_entered(self, change: dict[str, Any]) -> None:
        text = change["new"].strip()
        if text and _is_plain_folder(text):
            self.show_folder(Path(text).resolve())
        elif text != self.chosen:
            self.chosen = text

    def _show_file(self, path: str) -> None:
        self.path.value, self.strip.selected = path, [path]
        self.picture.layout.display = "none"
        self.verdicts.show([path] if path and self._checks else [])
        if not path:
            self.details.value = ""
            return
        try:
            data, description = thumbnail(path)
        except HeygemError as error:
            self.details.value = html.escape(error_line(error, self._translate))
            return
        add_recent(self._kind, path)
        if Path(path).absolute().parent != self.folder and not self._shows_recent:
            self.show_folder(Path(path).absolute().parent)  # the next choice is often next to it
        self._show_title()
        self._mark_chosen()
        self.details.value = html.escape(description)
        if data:
            self.picture.value = data
            self.picture.layout.display = "block"


class FilesPicker(w.VBox):
    """A file browser in which several files of one folder are chosen.

    Parameters
    ----------
    title : str
    folder : path
        Initial folder.
    kind : {"audio", "video"}
    suffixes : set of str, optional
        Lower-case, with the dot: of the files that are offered; by default all of the kind.
    translate, verdicts, uploader
        As for `FilePicker`.

    Attributes
    ----------
    folder : ipywidgets.Text
        The folder; another may be typed.
    list : ipywidgets.SelectMultiple
        Its values are paths as text. Selecting a folder alone opens it.
    """

    def __init__(
        self,
        title: str,
        folder: PathLike,
        *,
        kind: Kind,
        suffixes: frozenset[str] | None = None,
        translate: Translate | None = None,
    ) -> None:
        self._translate = translate = translate or translator()
        self._kind, self._suffixes = kind, suffixes or _SUFFIXES[kind]
        folder = opening_folder(folder, kind)
        self._updating, self._last_folder = False, str(folder)
        self.uploader = Uploader(
            translate,
            self._uploaded,
            kind=kind,
            suffixes=self._suffixes,
            several=True,
            title=title,
        )
        self.recent_button = _recent_button(translate)
        self.recent_button.on_click(lambda _: self.show_recent())
        self.verdicts = FileVerdicts(kind, translate)
        self.folder = w.Text(
            value=str(folder), continuous_update=False,
            tooltip=translate("folder"), layout=w.Layout(flex="1 1 auto", min_width="0"),
        )  # fmt: skip
        self.list = w.SelectMultiple(rows=ROWS, tooltip=title, layout=w.Layout(width="100%"))
        self.details = w.HTML()
        self.strip = ThumbnailStrip(thumbnail)
        self.strip.observe(self._thumbnail_clicked, "clicked")
        strips = [self.strip] if kind == "video" else []
        super().__init__(
            [
                _title(title),
                self.uploader,
                w.HBox([self.recent_button, self.folder], layout=_centred()),
                self.list,
                *strips,
                self.details,
                self.verdicts,
            ],
            layout=w.Layout(flex="1 1 340px", max_width="1080px"),
        )
        self.add_class("hg-picker")
        self.folder.observe(lambda _: self.refresh(), "value")
        self.list.observe(self._entries_selected, "value")
        self.refresh()

    def refresh(self) -> None:
        """List the folder again."""
        self._updating = True
        try:
            entries = self._entries()
            self.list.options = [(label, str(path)) for label, path in entries]
            self.list.value, self.details.value = (), ""
        except HeygemError as error:
            self.list.options = ()
            self.details.value = html.escape(error_line(error, self._translate))
        finally:
            self._updating = False
        files = [path for _, path in self.list.options if not _is_plain_folder(path)]
        self.strip.show(files if self._kind == "video" else [])

    def show_recent(self) -> None:
        """List the files that were lately chosen on this project's pages."""
        self.folder.value = self._translate("recent_files")

    def _entries(self) -> list[tuple[str, Path]]:
        if self.folder.value == self._translate("recent_files"):
            return list_recent(self._kind, self._last_folder, self._suffixes)
        entries = list_folder(self.folder.value, self._suffixes)
        self._last_folder = self.folder.value
        return entries

    def _uploaded(self, path: Path) -> None:
        """Add an uploaded file to those that are chosen in the folder of uploads."""
        selected = self.list.value if Path(self.folder.value) == upload_folder() else ()
        if self.folder.value == str(upload_folder()):
            self.refresh()
        else:
            self.folder.value = str(upload_folder())
        known = {value for _, value in self.list.options}
        self.list.value = tuple(p for p in (*selected, str(path)) if p in known)

    def _thumbnail_clicked(self, change: dict[str, Any]) -> None:
        """Add the clicked file to the selection, or remove it."""
        path, selected = change["new"].get("path", ""), self.list.value
        others = tuple(p for p in selected if p != path)
        self.list.value = others if path in selected else (*selected, path)

    def _entries_selected(self, change: dict[str, Any]) -> None:
        self.strip.selected = list(change["new"])
        if self._updating:
            return
        folders = [path for path in change["new"] if _is_plain_folder(path)]
        if folders and len(change["new"]) == 1:
            self.folder.value = str(Path(folders[0]).resolve())
        elif not folders:
            for path in change["new"]:
                add_recent(self._kind, path)
            self.verdicts.show(change["new"])
        else:  # a folder among files cannot be opened and is no choice
            self.list.value = tuple(path for path in change["new"] if path not in folders)


def _title(title: str) -> w.HTML:
    return w.HTML(f'<span class="hg-field-title">{html.escape(title)}</span>')


def _centred() -> w.Layout:
    return w.Layout(width="100%", align_items="center")


def _is_plain_folder(path: PathLike) -> bool:
    """Whether a path is a folder to look into, not an avatar bundle."""
    return Path(path).is_dir() and Path(path).suffix != BUNDLE_SUFFIX
