"""A recording from the microphone, made by the browser and kept as a sound file."""

import time
from pathlib import Path

import anywidget
import traitlets

from heygem import media

_STATIC = Path(__file__).parent / "static"
MOST_S = 120.0  # at the rate asked for, some 1 MB: small enough for the widget socket
_LABELS = ("record", "record_stop", "record_insecure", "record_refused", "record_sending")
_ENDINGS = {"audio/webm": ".webm", "audio/mp4": ".m4a", "audio/ogg": ".ogg"}


class Recorder(anywidget.AnyWidget):
    """A button that records; what was recorded is handed to `on_recorded(name, content)`.

    Browsers give the microphone only to pages over HTTPS or on this very machine (127.0.0.1,
    localhost); elsewhere the button says so.

    Attributes
    ----------
    most_s : float
        A recording ends by itself after this long.
    """

    _esm = _STATIC / "recorder.js"
    _css = _STATIC / "recorder.css"

    labels = traitlets.Dict().tag(sync=True)
    most_s = traitlets.Float(MOST_S).tag(sync=True)

    def __init__(self, say, on_recorded):
        super().__init__(labels={key: say(key) for key in _LABELS})
        self._on_recorded = on_recorded
        self.on_msg(self._arrived)

    def _arrived(self, _widget, content, buffers):
        if content.get("kind") == "recorded" and buffers:
            ending = _ENDINGS.get(str(content.get("type", "")).partition(";")[0], ".webm")
            self._on_recorded(f"recorded{ending}", bytes(buffers[0]))


def as_wave(path):
    """A recording as a WAV file beside it; browsers do not say how long theirs are.

    Parameters
    ----------
    path : path
        Replaced by the WAV file.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        It holds no sound.
    """
    path = Path(path)
    track = media.read_audio(path)
    target = path.with_name(f"recorded-{time.strftime('%H%M%S')}.wav")
    media.write_wav(target, track.samples, track.rate_hz)
    path.unlink(missing_ok=True)
    return target
