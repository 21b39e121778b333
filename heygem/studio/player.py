"""Player for source and result over one time axis."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "source", "result", "side", "wipe", "result_only", "play", "pause", "back", "forward",
    "loop", "position", "timeline", "overview", "no_video", "load_failed", "seek", "rate",
    "full_screen", "download", "live", "keys_title", "keys_play", "keys_step", "keys_mode",
    "keys_loop", "keys_full", "keys_undo", "keys_keep", "keys_help", "keys_close",
)  # fmt: skip


class Player(anywidget.AnyWidget):
    """Two synchronized videos with wipe, loop and frame stepping, above plots and a playhead.

    Space plays and pauses, the arrow keys step by one frame; `?` shows all keys. Those that concern
    the page are sent to it as messages: kind "undo", "redo", "keepA", "keepB", "keepC". Only
    addresses and plots (SVG) pass through the widget socket.

    Attributes
    ----------
    source_url, result_url : str
        As returned by `heygem.studio.urls.page_url`; empty for none.
    source_shown, result_shown : str
        Address whose first frame the page has decoded; set by the page.
    captions : dict of str to str
        Names of "source" and "result" where they are something else, such as two settings.
    mode : {"side", "wipe", "result_only"}
    wipe : float
        Part of the width that shows the source, percent.
    loop : bool
    frame_s : float
        Duration of a frame, for stepping.
    start_s, length_s, total_s : float
        The span on the clock of the audio, and the length of the audio.
    audio, curves, overview : str
        Plots from `heygem.studio.charts`.
    clicked_start_s : float
        Start of the span that the user clicked in the overview; set by the page.
    live : bytes
        JPEG of the frame that is being drawn, in place of the result; empty for none.
    stale : bool
        The result is older than the controls; it is dimmed.
    autoplay : bool
        Whether a new result is played at once.
    streamed : bool
        Whether videos are played while they arrive; else they are fetched whole, which suits
        short ones that are replaced.
    downloadable : bool
        Whether a link to download the result is shown.
    """

    _esm = widget_script("player")
    _css = _STATIC / "player.css"

    labels = traitlets.Dict().tag(sync=True)
    source_url = traitlets.Unicode("").tag(sync=True)
    result_url = traitlets.Unicode("").tag(sync=True)
    source_shown = traitlets.Unicode("").tag(sync=True)
    result_shown = traitlets.Unicode("").tag(sync=True)
    captions = traitlets.Dict().tag(sync=True)
    mode = traitlets.Enum(["side", "wipe", "result_only"], "side").tag(sync=True)
    wipe = traitlets.Float(50.0).tag(sync=True)
    loop = traitlets.Bool(True).tag(sync=True)
    frame_s = traitlets.Float(0.04).tag(sync=True)
    start_s = traitlets.Float(0.0).tag(sync=True)
    length_s = traitlets.Float(3.0).tag(sync=True)
    total_s = traitlets.Float(0.0).tag(sync=True)
    audio = traitlets.Unicode("").tag(sync=True)
    curves = traitlets.Unicode("").tag(sync=True)
    overview = traitlets.Unicode("").tag(sync=True)
    clicked_start_s = traitlets.Float(0.0).tag(sync=True)
    live = traitlets.Bytes(b"").tag(sync=True)
    stale = traitlets.Bool(False).tag(sync=True)
    autoplay = traitlets.Bool(False).tag(sync=True)
    streamed = traitlets.Bool(False).tag(sync=True)
    downloadable = traitlets.Bool(False).tag(sync=True)

    def __init__(self, translate: Translate, **traits: Any) -> None:
        # The page fills in placeholders such as {url}.
        super().__init__(labels={key: translate(key) for key in _LABELS}, **traits)
