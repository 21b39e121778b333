"""Send files from this computer to the server: dropped, pasted or chosen, of any size.

The page sends them in parts over HTTP (see `heygem.server.uploads`); only their paths pass through
the widget socket.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate
from heygem.server import UPLOADS
from heygem.studio.scripts import widget_script
from heygem.studio.urls import server_root

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "upload_drop", "upload_choose", "upload_cancel", "upload_retry", "upload_failed",
    "upload_wrong_kind", "upload_done",
)  # fmt: skip


class Uploader(anywidget.AnyWidget):
    """A place to drop files on, with a button, and a bar for each file on its way.

    Parameters
    ----------
    translate : callable
    on_uploaded : callable
        Called with the path of each file that has arrived.
    kind : {"audio", "video", "table"}
        Files pasted beside any place go where their kind is taken.
    suffixes : iterable of str
        Lower-case, with the dot; others are refused by the page.
    several : bool
        Whether several files may be dropped at once.
    title : str
        What the files are for: said to assistive technology before the button's text.

    Attributes
    ----------
    busy : bool
        Whether files are on their way; set by the page.
    """

    _esm = widget_script("uploader")
    _css = _STATIC / "uploader.css"

    labels = traitlets.Dict().tag(sync=True)
    suffixes: traitlets.List[str] = traitlets.List().tag(sync=True)
    kind = traitlets.Unicode("").tag(sync=True)
    several = traitlets.Bool(False).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        translate: Translate,
        on_uploaded: Callable[[Path], None],
        *,
        kind: str,
        suffixes: Iterable[str],
        several: bool = False,
        title: str = "",
    ) -> None:
        super().__init__(
            labels={key: translate(key) for key in _LABELS} | {"title": title},
            kind=kind,
            suffixes=sorted(suffixes),
            several=several,
        )
        self._on_uploaded = on_uploaded
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: list) -> None:
        if content.get("kind") != "uploaded":
            return
        path = upload_folder() / Path(str(content.get("name", ""))).name
        if path.is_file():
            self._on_uploaded(path)


def upload_folder() -> Path:
    """Folder that receives uploads."""
    return (server_root() or Path.cwd()) / UPLOADS
