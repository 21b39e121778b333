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
from heygem.studio.status import error_line
from heygem.studio.thumbnail_strip import ThumbnailStrip
from heygem.studio.uploader import Uploader, upload_folder

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
        self._suffixes, self._checks = _SUFFIXES[kind], check
        self.uploader = Uploader(translate, self._uploaded, suffixes=self._suffixes)
        self.verdicts = FileVerdicts(kind, translate)
        self.path = w.Text(
            description=title, continuous_update=False, layout=w.Layout(width="100%")
        )
        self.folder_name = w.HTML()
        self.list = w.Select(rows=7, tooltip=title, layout=w.Layout(width="100%"))
        small = w.Layout(display="none", max_width="220px", max_height="130px")
        small.object_fit, small.object_position = "contain", "left"
        self.picture = w.Image(format="jpeg", layout=small)
        self.details = w.HTML()
        self.strip = ThumbnailStrip(thumbnail)
        self.strip.observe(self._thumbnail_clicked, "clicked")
        strips = [self.strip] if kind == "video" else []
        super().__init__(
            [
                self.path,
                self.uploader,
                self.folder_name,
                self.list,
                *strips,
                self.picture,
                self.details,
                self.verdicts,
            ],
            layout=w.Layout(flex="1 1 340px", max_width="900px", padding="4px"),
        )
        self.folder = Path(folder).resolve()
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
        self.folder = Path(folder)
        self.folder_name.value = f"<code>{html.escape(str(folder))}</code>"
        self._updating = True
        try:
            self.list.options = options
            self.list.value = None
        finally:
            self._updating = False
        if self._suffixes is VIDEO_SUFFIXES:
            self.strip.show([path for _, path in options if not _is_plain_folder(path)])

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
        if Path(path).absolute().parent != self.folder:
            self.show_folder(Path(path).absolute().parent)  # the next choice is often next to it
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
        translate: Translate | None = None,
    ) -> None:
        self._translate = translate = translate or translator()
        self._suffixes = _SUFFIXES[kind]
        self._updating = False
        self.uploader = Uploader(translate, self._uploaded, suffixes=self._suffixes, several=True)
        self.verdicts = FileVerdicts(kind, translate)
        self.folder = w.Text(
            value=str(Path(folder).resolve()), continuous_update=False,
            tooltip=translate("folder"), layout=w.Layout(width="100%"),
        )  # fmt: skip
        self.list = w.SelectMultiple(rows=9, tooltip=title, layout=w.Layout(width="100%"))
        self.details = w.HTML()
        self.strip = ThumbnailStrip(thumbnail)
        self.strip.observe(self._thumbnail_clicked, "clicked")
        strips = [self.strip] if kind == "video" else []
        super().__init__(
            [
                w.HTML(html.escape(title)),
                self.uploader,
                self.folder,
                self.list,
                *strips,
                self.details,
                self.verdicts,
            ],
            layout=w.Layout(flex="1 1 340px", max_width="900px", padding="4px"),
        )
        self.folder.observe(lambda _: self.refresh(), "value")
        self.list.observe(self._entries_selected, "value")
        self.refresh()

    def refresh(self) -> None:
        """List the folder again."""
        self._updating = True
        try:
            entries = list_folder(self.folder.value, self._suffixes)
            self.list.options = [(label, str(path)) for label, path in entries]
            self.list.value, self.details.value = (), ""
        except HeygemError as error:
            self.list.options = ()
            self.details.value = html.escape(error_line(error, self._translate))
        finally:
            self._updating = False
        files = [path for _, path in self.list.options if not _is_plain_folder(path)]
        self.strip.show(files if self._suffixes is VIDEO_SUFFIXES else [])

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
            self.verdicts.show(change["new"])
        else:  # a folder among files cannot be opened and is no choice
            self.list.value = tuple(path for path in change["new"] if path not in folders)


def _is_plain_folder(path: PathLike) -> bool:
    """Whether a path is a folder to look into, not an avatar bundle."""
    return Path(path).is_dir() and Path(path).suffix != BUNDLE_SUFFIX
