"""The picture of an item that is being drawn, handed from its process to pages through a file.

The process writes a picture where there is none, and a page that shows it takes it away. So the
next is made only when somebody has looked at the last, and a page never creates a file.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from heygem.core.files import replacing
from heygem.core.leftovers import hidden_path
from heygem.media.live_picture import LivePicture

log = logging.getLogger(__name__)

_SUFFIX = ".live.jpg"
_PRIVATE = 0o600


@contextlib.contextmanager
def live_picture(folder: Path) -> Iterator[LivePicture]:
    """Something to call with each labelled frame of an item; at the end its picture is removed.

    Parameters
    ----------
    folder : path
        Of the item's details.
    """
    # The name says which process it is of: that of a dead one is removed by the next run.
    path = hidden_path(folder / "frame", _SUFFIX)
    try:
        yield LivePicture(lambda jpeg: _write(path, jpeg), is_wanted=lambda: not path.exists())
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def take_picture(folder: Path) -> bytes:
    """The newest picture of an item that is being made, as JPEG; empty where there is none now."""
    for path in folder.glob(f".heygem-*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another user's, or finished just now
            jpeg = path.read_bytes()
            path.unlink()
            return jpeg
    return b""


def _write(path: Path, jpeg: bytes) -> None:
    try:
        with replacing(path, mode=_PRIVATE, durable=False) as staged:
            staged.write_bytes(jpeg)
    except OSError as error:  # no picture is worth an item
        log.debug("no live picture: %s", error)
