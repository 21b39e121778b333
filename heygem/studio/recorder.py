"""Record from the microphone in the browser and keep the recording as an audio file."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem import media
from heygem.core.i18n import Translate
from heygem.core.types import PathLike
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
MAX_S = 120.0  # at the bit rate of recorder.js about 1 MB: small enough for the widget socket
_LABELS = ("record", "record_stop", "record_insecure", "record_refused", "record_sending")
_SUFFIXES = {"audio/webm": ".webm", "audio/mp4": ".m4a", "audio/ogg": ".ogg"}


class Recorder(anywidget.AnyWidget):
    """A button that records and then calls `on_recorded(name, content)`.

    Browsers give the microphone only to pages over HTTPS or on this machine (127.0.0.1,
    localhost); elsewhere the button says so.

    Attributes
    ----------
    max_s : float
        A recording stops by itself after this time.
    """

    _esm = widget_script("recorder")
    _css = _STATIC / "recorder.css"

    labels = traitlets.Dict().tag(sync=True)
    max_s = traitlets.Float(MAX_S).tag(sync=True)

    def __init__(self, translate: Translate, on_recorded: Callable[[str, bytes], None]) -> None:
        super().__init__(labels={key: translate(key) for key in _LABELS})
        self._on_recorded = on_recorded
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list) -> None:
        if content.get("kind") == "recorded" and buffers:
            media_type = str(content.get("type", "")).partition(";")[0]
            suffix = _SUFFIXES.get(media_type, ".webm")
            self._on_recorded(f"recorded{suffix}", bytes(buffers[0]))


def convert_to_wav(path: PathLike) -> Path:
    """Replace a recording with a WAV file beside it; browsers do not write its duration.

    Raises
    ------
    InputError
        The file holds no audio.
    """
    path = Path(path)
    track = media.read_audio(path)
    target = path.with_name(f"recorded-{time.strftime('%H%M%S')}.wav")
    media.write_wav(target, track.samples, track.rate_hz)
    path.unlink(missing_ok=True)
    return target
