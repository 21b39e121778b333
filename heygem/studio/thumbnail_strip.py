"""A row of thumbnails of the videos in a folder, to choose from."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.types import PathLike, Progress
from heygem.studio.background import LatestTask
from heygem.studio.images import data_url
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
MAX_THUMBNAILS = 24  # for one folder; the list beside the strip names every file
WIDTH_PX = 96


class ThumbnailStrip(anywidget.AnyWidget):
    """A row of thumbnails that can be clicked.

    Parameters
    ----------
    make_thumbnail : callable
        As `heygem.studio.images.thumbnail`.

    Attributes
    ----------
    items : list of dict
        path, name, source (data URL of the thumbnail, empty until it is made).
    selected : list of str
        Paths shown as selected.
    clicked : dict
        `path` of the thumbnail clicked last, and a running number `n`; set by the page.
    """

    _esm = widget_script("thumbnail_strip")
    _css = _STATIC / "thumbnail_strip.css"

    items: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    selected: traitlets.List[str] = traitlets.List().tag(sync=True)
    clicked = traitlets.Dict().tag(sync=True)

    def __init__(self, make_thumbnail: Callable[[PathLike, int], tuple[bytes, str]]) -> None:
        super().__init__()
        self._make_thumbnail = make_thumbnail
        self._urls: dict[tuple, str] = {}
        self.task = LatestTask()

    def show(self, paths: Iterable[PathLike]) -> None:
        """Show these videos; thumbnails that are missing are made in the background."""
        paths = [Path(path) for path in paths][:MAX_THUMBNAILS]
        self.items = [self._item(path) for path in paths]

        def work(progress: Progress, cancel: threading.Event) -> None:
            for path in paths:
                if cancel.is_set():
                    return
                version = _version(path)
                if version not in self._urls:
                    self._urls[version] = self._thumbnail_url(path)
                    self.items = [self._item(p) for p in paths]

        if any(not item["source"] for item in self.items):
            self.task.submit(work)

    def _item(self, path: Path) -> dict[str, Any]:
        source = self._urls.get(_version(path), "")
        return {"path": str(path), "name": path.name, "source": source}

    def _thumbnail_url(self, path: Path) -> str:
        try:
            return data_url(self._make_thumbnail(path, WIDTH_PX)[0])
        except Exception:  # the file picker reports what is wrong with it, once it is chosen
            return ""


def _version(path: Path) -> tuple[str, int]:
    try:
        return str(path), path.stat().st_mtime_ns
    except OSError:
        return str(path), 0
