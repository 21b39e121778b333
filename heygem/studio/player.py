"""Source and result over one time axis, in the page."""

from pathlib import Path

import anywidget
import traitlets

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "source", "result", "side", "wipe", "result_only", "play", "pause", "back", "forward",
    "loop", "position", "timeline", "overview", "no_video", "load_failed",
)  # fmt: skip


class Player(anywidget.AnyWidget):
    """Two videos in step, with wipe, loop and frame stepping, above curves and a playhead.

    Space plays and pauses, the arrow keys step by one frame. Only addresses and drawings pass
    through the widget socket.

    Attributes
    ----------
    source_url, result_url : str
        As `heygem.studio.urls.page_url` gives them; empty for none.
    source_shown, result_shown : str
        The address whose first picture the page has decoded; set by the page.
    mode : {"side", "wipe", "result_only"}
    wipe : float
        Share of the width that shows the source, percent.
    loop : bool
    frame_s : float
        Duration of a frame, for stepping.
    start_s, length_s, total_s : float
        The span on the sound's clock, and the length of the sound.
    sound, curves, overview : str
        Drawings from `heygem.studio.charts`.
    picked_s : float
        Start of a span that the user clicked; set by the page.
    stale : bool
        The result no longer fits the knobs; it is dimmed.
    """

    _esm = _STATIC / "player.js"
    _css = _STATIC / "player.css"

    labels = traitlets.Dict().tag(sync=True)
    source_url = traitlets.Unicode("").tag(sync=True)
    result_url = traitlets.Unicode("").tag(sync=True)
    source_shown = traitlets.Unicode("").tag(sync=True)
    result_shown = traitlets.Unicode("").tag(sync=True)
    mode = traitlets.Enum(["side", "wipe", "result_only"], "side").tag(sync=True)
    wipe = traitlets.Float(50.0).tag(sync=True)
    loop = traitlets.Bool(True).tag(sync=True)
    frame_s = traitlets.Float(0.04).tag(sync=True)
    start_s = traitlets.Float(0.0).tag(sync=True)
    length_s = traitlets.Float(3.0).tag(sync=True)
    total_s = traitlets.Float(0.0).tag(sync=True)
    sound = traitlets.Unicode("").tag(sync=True)
    curves = traitlets.Unicode("").tag(sync=True)
    overview = traitlets.Unicode("").tag(sync=True)
    picked_s = traitlets.Float(0.0).tag(sync=True)
    stale = traitlets.Bool(False).tag(sync=True)

    def __init__(self, say, **traits):
        # Placeholders such as {url} are filled in by the page.
        super().__init__(labels={key: say(key) for key in _LABELS}, **traits)
