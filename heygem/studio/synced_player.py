"""Player for several videos in step."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "side", "play", "pause", "back", "forward", "loop", "timeline", "rate", "zoom", "listen_to",
    "load_failed",
)  # fmt: skip


class SyncedPlayer(anywidget.AnyWidget):
    """Several videos with one play button, position and speed.

    Only addresses pass through the widget socket.

    Attributes
    ----------
    videos : list of dict
        url, letter, name, colour, mouth (centre as fractions of width and height).
    audible : int
        Index of the video that is not muted.
    frame_s : float
        Duration of a frame, for stepping.
    ready : bool
        The page has decoded a frame of each video; set by the page.
    """

    _esm = widget_script("synced_player")
    _css = _STATIC / "comparison.css"

    labels = traitlets.Dict().tag(sync=True)
    videos: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    audible = traitlets.Int(0).tag(sync=True)
    frame_s = traitlets.Float(0.04).tag(sync=True)
    ready = traitlets.Bool(False).tag(sync=True)

    def __init__(self, translate: Translate, **traits: Any) -> None:
        super().__init__(labels={key: translate(key) for key in _LABELS}, **traits)
