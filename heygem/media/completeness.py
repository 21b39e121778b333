"""Whether a file holds all that its header states, checked before any work is done with it.

FFmpeg decodes a file up to a cut and reports success, so that half a recording or half a picture
would pass for a whole one. What is compared: the index of an MP4 and the size of a sound's data
chunk with the size of the file, and a picture with what Pillow, which is strict, reads of it. What
only shows at the end of decoding is checked there: see `require_declared_length`.
"""

import os
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from heygem.core.errors import InputError
from heygem.core.types import PathLike
from heygem.media.container import (
    audio_stream,
    is_still_image,
    media_path,
    printable,
    video_stream,
)

MIN_COMPLETE_SHARE = 0.98  # with less than this of what it declares a file counts as cut short
_REMEDY = "Copy or download it again; to use what is there, save it anew in an audio editor."
#: No measured sizes: a recorder that writes to a pipe states the largest number that its counter or
#: the format holds (SoX 0x7FFFF000, arecord 0x80000000, FFmpeg 0xFFFFFFFF), or 0.
_UNKNOWN_SIZES = (range(0x7FFF0000, 0x80001000), range(0xFFFF0000, 1 << 32))
_OGG_PAGE_BYTES = 65_307  # the largest page
_SCAN_BYTES = 4096  # an MP3's first frame is shorter


def require_complete(container: InputContainer, path: PathLike) -> None:
    """Refuse a file that ends before its header says, as far as that shows without decoding.

    Raises
    ------
    InputError
        An MP4 or MOV whose index points beyond the end of the file, a sound whose header declares
        more bytes than there are, or a picture that breaks off.
    """
    name = container.format.name
    path = media_path(path)
    if name.startswith("mov"):
        _require_index_inside(container, path)
    elif is_still_image(container):
        _require_whole_picture(path)
    elif name in _DECLARED_BYTES:
        with open(path, "rb") as file:
            start, declared = _DECLARED_BYTES[name](file)
        present = os.stat(path).st_size - start
        is_measured = declared > 0 and not any(declared in sizes for sizes in _UNKNOWN_SIZES)
        if is_measured and present < MIN_COMPLETE_SHARE * declared:
            raise InputError(
                f"{printable(path)} is cut short",
                seen=f"{max(0, present)} of the {declared} bytes that its header declares",
                remedy=_REMEDY,
            )


def lacks_end_mark(container: InputContainer, path: PathLike) -> bool:
    """Whether an Ogg file ends without the mark of its last page, as one that was cut short does.

    So does a stream that somebody recorded, which is whole.
    """
    if container.format.name != "ogg":
        return False
    with open(media_path(path), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _OGG_PAGE_BYTES))
        end = file.read()
    page = end.rfind(b"OggS")
    return page < 0 or len(end) < page + 6 or not end[page + 5] & 4


def require_declared_length(path: PathLike, decoded_s: float, declared_s: float) -> None:
    """Refuse a file that was decoded to its end and is shorter than its header says.

    Parameters
    ----------
    decoded_s, declared_s : float
        Seconds. Half a second or 2 % may be missing, because some writers round up.
    """
    if decoded_s < min(MIN_COMPLETE_SHARE * declared_s, declared_s - 0.5):
        raise InputError(
            f"{printable(path)} is cut short or damaged",
            seen=f"{decoded_s:.1f} of {declared_s:.1f} s could be read",
            remedy="Copy or download it again, or repair it by re-encoding.",
        )


def _require_index_inside(container: InputContainer, path: Path) -> None:
    size = os.stat(path).st_size
    for stream in (video_stream(container), audio_stream(container)):
        if stream is None:
            continue
        ends = [entry.pos + entry.size for entry in stream.index_entries]
        inside = sum(end <= size for end in ends)
        if ends and inside < MIN_COMPLETE_SHARE * len(ends):
            raise InputError(
                f"{printable(path)} is cut short",
                seen=f"{inside} of {len(ends)} {stream.type} packets are inside the file",
                remedy="Copy or download it again.",
            )


def _require_whole_picture(path: Path) -> None:
    """FFmpeg fills the missing part of a JPEG with grey or green."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path) as picture:
                picture.load()
    except PillowImage.DecompressionBombError as e:
        raise InputError(
            f"{printable(path)} has too many pixels", seen=str(e), remedy="Make it smaller."
        ) from e
    except UnidentifiedImageError:  # FFmpeg reads variants that Pillow does not know
        return
    except (OSError, SyntaxError, ValueError) as e:
        raise InputError(
            f"{printable(path)} is cut short or damaged",
            seen=e,
            remedy="Copy it again, or open it in a picture viewer, look at it, and save it anew.",
        ) from e


def _chunk(
    file: BinaryIO,
    prefix: bytes,
    *,
    first: int,
    header: str = "<4sI",
    align: int = 2,
    header_counted: bool = False,
) -> tuple[int, int]:
    """Where the content of a chunk begins, and its declared size in bytes; size 0 if not there.

    Parameters
    ----------
    prefix : bytes
        Beginning of the chunk's name.
    first : int
        Offset of the first chunk in the file.
    header : str
        Format of a chunk's name and size, as `struct` takes it.
    align : int
        Chunks begin at multiples of this after the first one.
    header_counted : bool
        Whether the declared sizes count name and size in.
    """
    length = struct.calcsize(header)
    offset = first
    while True:
        file.seek(offset)
        head = file.read(length)
        if len(head) < length:
            return offset, 0
        name, size = struct.unpack(header, head)
        size -= length if header_counted else 0
        if name.startswith(prefix):
            return offset + length, size
        if size <= 0:
            return offset, 0
        offset += length + size + -(length + size) % align


def _wav_data(file: BinaryIO) -> tuple[int, int]:
    magic = file.read(4)
    if magic in (b"RF64", b"BW64"):  # 64-bit sizes: of the file, then of the data
        start, size = _chunk(file, b"ds64", first=12)
        file.seek(start)
        declared = struct.unpack("<QQ", file.read(16))[1] if size >= 16 else 0
        return _chunk(file, b"data", first=12)[0], declared
    return _chunk(file, b"data", first=12, header=">4sI" if magic == b"RIFX" else "<4sI")


def _au_data(file: BinaryIO) -> tuple[int, int]:
    _, start, size = struct.unpack(">4sII", file.read(12))
    return start, size


def _mp3_data(file: BinaryIO) -> tuple[int, int]:
    """The size that LAME and others write into a first, silent frame (Xing, Info)."""
    head = file.read(10)
    start = 0
    if head.startswith(b"ID3"):
        start = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
        )
    file.seek(start)
    frame = file.read(_SCAN_BYTES)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return start, 0
    flags, first, second = struct.unpack(">III", frame[at + 4 : at + 16])
    has_frames, has_bytes = flags & 1, flags & 2
    return start, (second if has_frames else first) if has_bytes else 0


#: By FFmpeg's name of the format: from a file at its start, where the sound's data begin, and how
#: many bytes of them the header declares (0: not stated).
_DECLARED_BYTES = {
    "wav": _wav_data,
    "w64": lambda file: _chunk(
        file, b"data", first=40, header="<16sQ", align=8, header_counted=True
    ),
    "aiff": lambda file: _chunk(file, b"SSND", first=12, header=">4sI"),
    "caf": lambda file: _chunk(file, b"data", first=8, header=">4sq", align=1),
    "avi": lambda file: _chunk(file, b"RIFF", first=0),
    "au": _au_data,
    "mp3": _mp3_data,
}
