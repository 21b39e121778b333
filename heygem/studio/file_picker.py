"""Choosing a file on the server: nothing large passes through the page."""

import html
import io
from pathlib import Path

import ipywidgets as w
import traitlets

from heygem import media
from heygem.core.errors import HeygemError, InputError
from heygem.server import policy
from heygem.studio.thumbnail_strip import Strip

AVATAR_ENDING = ".heygem"  # a folder that holds a taught person, chosen as a video is
VIDEO_ENDINGS = frozenset(
    ".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg .ts .jpg .jpeg .png .webp .bmp .tif .tiff".split()
) | {AVATAR_ENDING}
AUDIO_ENDINGS = frozenset(".wav .mp3 .m4a .aac .flac .ogg .opus .wma .mp4 .mov .mkv .webm".split())
THUMBNAIL_PX = 220
UPLOAD_MB = 8  # the socket breaks near 10 MB
_UP = ".."


def entries(folder, endings):
    """Folders, then files of some kinds, in a folder, by name; hidden ones left out.

    Parameters
    ----------
    folder : path
    endings : set of str
        Lower-case, with the dot.

    Returns
    -------
    list of (label, Path)
        The first leads to the folder above.

    Raises
    ------
    InputError
        The folder cannot be read.
    """
    folder = Path(folder)
    if (rules := policy.current()) is not None:
        rules.check_place(folder)
    try:
        found = [p for p in folder.iterdir() if not p.name.startswith(".")]
        fits = {p for p in found if p.suffix.lower() in endings}
        people = {p for p in fits if p.suffix == AVATAR_ENDING and p.is_dir()}
        folders = sorted((p for p in found if p.is_dir()), key=lambda p: p.name.lower())
        folders = [p for p in folders if p not in people]
        files = [p for p in fits if p in people or p.is_file()]
    except OSError as e:
        raise InputError(
            "cannot read the folder", seen=folder, remedy="check its name and your permissions"
        ) from e
    files.sort(key=lambda p: p.name.lower())
    above = [(_UP + "/", folder.parent)] if folder.parent != folder else []
    return above + [(f"{p.name}/", p) for p in folders] + [(p.name, p) for p in files]


def thumbnail(path, width_px=THUMBNAIL_PX):
    """A small JPEG of the first shown frame, a few kilobytes, and a line on what the file is.

    Returns
    -------
    (bytes, str)
        No bytes for sound.

    Raises
    ------
    InputError
        The file is not media.
    """
    from PIL import Image

    if (rules := policy.current()) is not None:
        rules.check_place(path)
    info = media.probe(path)
    if info.video is None:
        sound = info.audio
        return b"", f"{info.duration_s:.1f} s, {sound.rate_hz / 1000:g} kHz, {sound.codec}"
    v = info.video
    with media.VideoReader(path) as reader:
        image = next(iter(reader)).image
    height_px = max(1, round(width_px * v.height / v.width))
    buffer = io.BytesIO()
    Image.fromarray(image).resize((width_px, height_px)).save(buffer, "JPEG", quality=80)
    shape = f"{v.width}×{v.height}"
    words = shape if info.is_still else f"{shape}, {float(v.rate):.4g} fps, {v.duration_s:.1f} s"
    return buffer.getvalue(), words


class FilePicker(w.VBox):
    """A small file browser with a thumbnail of what is chosen.

    Parameters
    ----------
    title : str
    folder : path
        Where to start.
    kind : {"audio", "video"}
    say : callable

    Attributes
    ----------
    chosen : str
        Path of the chosen file, empty for none. Setting it shows it.
    """

    chosen = traitlets.Unicode("")

    def __init__(self, title, folder, *, kind, say):
        self._endings = VIDEO_ENDINGS if kind == "video" else AUDIO_ENDINGS
        self.path = w.Text(
            description=title, continuous_update=False, layout=w.Layout(width="100%")
        )
        self.where = w.HTML()
        self.list = w.Select(rows=7, layout=w.Layout(width="100%"))
        small = w.Layout(display="none", max_width="220px", max_height="130px")
        small.object_fit, small.object_position = "contain", "left"
        self.picture = w.Image(format="jpeg", layout=small)
        self.about = w.HTML()
        self.strip = Strip(thumbnail)
        self.strip.observe(lambda change: self._pressed(change["new"]), "pressed")
        pictures = [self.strip] if kind == "video" else []
        super().__init__(
            [self.path, self.where, self.list, *pictures, self.picture, self.about],
            layout=w.Layout(flex="1 1 320px", max_width="520px", padding="4px"),
        )
        self.folder = Path(folder).resolve()
        self._listing = False
        self.list.observe(self._picked, "value")
        self.path.observe(self._typed, "value")
        self.observe(lambda change: self._show(change["new"]), "chosen")
        self.enter(self.folder)

    def enter(self, folder):
        """Show a folder."""
        try:
            options = entries(folder, self._endings)
        except HeygemError as error:
            self.about.value = html.escape(str(error))
            return
        self.folder = Path(folder)
        self.where.value = f"<code>{html.escape(str(folder))}</code>"
        self._listing = True
        try:
            self.list.options = options
            self.list.value = None
        finally:
            self._listing = False
        if self._endings is VIDEO_ENDINGS:
            self.strip.show([path for _, path in options if not _is_folder(path)])

    def _pressed(self, pressed):
        self.chosen = pressed.get("path", "")

    def _picked(self, change):
        path = change["new"]
        if self._listing or path is None:
            return
        if path.is_dir() and path.suffix != AVATAR_ENDING:
            self.enter(path.resolve())
        else:
            self.chosen = str(path)

    def _typed(self, change):
        text = change["new"].strip()
        if text and Path(text).is_dir() and Path(text).suffix != AVATAR_ENDING:
            self.enter(Path(text).resolve())
        elif text != self.chosen:
            self.chosen = text

    def _show(self, path):
        self.path.value, self.strip.chosen = path, [path]
        self.picture.layout.display = "none"
        if not path:
            self.about.value = ""
            return
        try:
            data, words = thumbnail(path)
        except HeygemError as error:
            self.about.value = html.escape(str(error))
            return
        if Path(path).absolute().parent != self.folder:
            self.enter(Path(path).absolute().parent)  # its neighbours are wanted next
        self.about.value = html.escape(words)
        if data:
            self.picture.value = data
            self.picture.layout.display = "block"


class FilesPicker(w.VBox):
    """A browser in which several files of one folder are chosen.

    Parameters
    ----------
    title : str
    folder : path
        Where to start.
    kind : {"audio", "video"}
    say : callable

    Attributes
    ----------
    place : ipywidgets.Text
        The folder; another may be typed.
    list : ipywidgets.SelectMultiple
        Its values are paths as text. A folder chosen alone is entered.
    """

    def __init__(self, title, folder, *, kind, say):
        self._endings = VIDEO_ENDINGS if kind == "video" else AUDIO_ENDINGS
        self._listing = False
        self.place = w.Text(
            value=str(Path(folder).resolve()), continuous_update=False,
            layout=w.Layout(width="100%"),
        )  # fmt: skip
        self.list = w.SelectMultiple(rows=9, layout=w.Layout(width="100%"))
        self.about = w.HTML()
        self.strip = Strip(thumbnail)
        self.strip.observe(lambda change: self._pressed(change["new"]), "pressed")
        pictures = [self.strip] if kind == "video" else []
        super().__init__(
            [w.HTML(html.escape(title)), self.place, self.list, *pictures, self.about],
            layout=w.Layout(flex="1 1 320px", max_width="520px", padding="4px"),
        )
        self.place.observe(lambda _: self.look(), "value")
        self.list.observe(self._picked, "value")
        self.look()

    def look(self):
        """Read the folder again."""
        self._listing = True
        try:
            self.list.options = [
                (name, str(p)) for name, p in entries(self.place.value, self._endings)
            ]
            self.list.value, self.about.value = (), ""
        except HeygemError as error:
            self.list.options, self.about.value = (), html.escape(str(error))
        finally:
            self._listing = False
        files = [path for _, path in self.list.options if not _is_folder(path)]
        self.strip.show(files if self._endings is VIDEO_ENDINGS else [])

    def _pressed(self, pressed):
        path, chosen = pressed.get("path", ""), self.list.value
        kept = tuple(p for p in chosen if p != path)
        self.list.value = kept if path in chosen else (*chosen, path)

    def _picked(self, change):
        self.strip.chosen = list(change["new"])
        if self._listing:
            return
        folders = [path for path in change["new"] if _is_folder(path)]
        if folders and len(change["new"]) == 1:
            self.place.value = str(Path(folders[0]).resolve())
        elif folders:  # among files a folder says nothing
            self.list.value = tuple(path for path in change["new"] if path not in folders)


def _is_folder(path):
    return Path(path).is_dir() and Path(path).suffix != AVATAR_ENDING
