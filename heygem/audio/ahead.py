"""A sound is loaded, and its phones recognised, while a command is still being imported.

Phones take longest of all that is computed from a sound, and need nothing but the sound.
"""

import threading
from concurrent.futures import Future
from pathlib import Path

from heygem.audio import phones, speech
from heygem.audio.speech import Speech
from heygem.config.params import AudioSettings
from heygem.core.interrupts import wait_for
from heygem.core.types import PathLike

_started: dict[tuple[Path, AudioSettings], "Future[Speech]"] = {}


def start(path: PathLike, settings: AudioSettings) -> None:
    """Load a sound in another thread, and recognise its phones; kept until it is taken."""
    loaded: Future[Speech] = Future()
    _started[Path(path), settings] = loaded

    def work() -> None:
        try:
            sound = _load(path, settings)
        except Exception as error:
            loaded.set_exception(error)
        else:
            phones.start(sound.samples)
            loaded.set_result(sound)

    # A daemon: a command that finds its work done does not wait for it.
    threading.Thread(target=work, name="listen", daemon=True).start()


def take(path: PathLike, settings: AudioSettings) -> Speech | None:
    """What `start` loaded; None where it was not called, or failed: loading again says why.

    Raises
    ------
    Cancelled
    """
    loaded = _started.pop((Path(path), settings), None)
    if loaded is None:
        return None
    wait_for(loaded)
    return None if loaded.exception() is not None else loaded.result()


def load(path: PathLike, settings: AudioSettings) -> Speech:
    """The sound of a file: what `start` loaded, or loaded now; errors as `heygem.audio.load`."""
    return take(path, settings) or _load(path, settings)


def _load(path: PathLike, settings: AudioSettings) -> Speech:
    return speech.load(path, denoise=settings.denoise, loudness_lufs=settings.loudness_lufs)
