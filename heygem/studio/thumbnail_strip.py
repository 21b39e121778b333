"""Small pictures of the videos in a folder, to choose from."""

import base64
from pathlib import Path

import anywidget
import traitlets

from heygem.studio.background import LatestTask

_STATIC = Path(__file__).parent / "static"
MOST = 24  # pictures of one folder; the list beside them holds all
WIDTH_PX = 96


class Strip(anywidget.AnyWidget):
    """A row of pictures that can be pressed.

    Attributes
    ----------
    items : list of dict
        path, name, source (address of the picture, empty until it is made).
    chosen : list of str
        Paths that are marked.
    pressed : dict
        `path` of the picture pressed last, and a running number; set by the page.
    """

    _esm = _STATIC / "strip.js"
    _css = _STATIC / "strip.css"

    items = traitlets.List().tag(sync=True)
    chosen = traitlets.List().tag(sync=True)
    pressed = traitlets.Dict().tag(sync=True)

    def __init__(self, picture):
        super().__init__()
        self._picture, self._made = picture, {}
        self.worker = LatestTask()

    def show(self, paths):
        """Show these videos; their pictures are made beside the main thread.

        Parameters
        ----------
        paths : list of path
        """
        paths = [Path(path) for path in paths][:MOST]
        self.items = [self._item(path) for path in paths]

        def work(progress, cancel):
            for path in paths:
                if cancel.is_set():
                    return
                key = _version(path)
                if key not in self._made:
                    self._made[key] = self._address(path)
                    self.items = [self._item(p) for p in paths]

        if any(not item["source"] for item in self.items):
            self.worker.submit(work)

    def _item(self, path):
        source = self._made.get(_version(path), "")
        return {"path": str(path), "name": path.name, "source": source}

    def _address(self, path):
        try:
            data = self._picture(path, WIDTH_PX)[0]
        except Exception:  # the list says what is wrong with it, once it is chosen
            return ""
        return "data:image/jpeg;base64," + base64.b64encode(data).decode() if data else ""


def _version(path):
    try:
        return str(path), path.stat().st_mtime_ns
    except OSError:
        return str(path), 0
