"""The metadata label in each kind of file: read from all of them, written into WAV, PNG and JPEG.

MP4, MOV, MKV, WebM, MP3, FLV and FLAC store it as a tag under the key `AIGC`; videos get it while
they are encoded. WAV stores it in a RIFF chunk of that name and pictures in XMP. FFmpeg silently
drops both, so this module writes them itself.
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr, unescape

from heygem.core import disk
from heygem.core.errors import HeygemError, OutputError
from heygem.core.files import read_once
from heygem.core.leftovers import hidden_path
from heygem.core.types import PathLike
from heygem.media.disclosure import RecordedFrames
from heygem.provenance.aigc import KEY

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_XMP_LABEL = re.compile(
    r"""TC260:AIGC\s*=\s*(?P<q>["'])(?P<a>.*?)(?P=q)|<TC260:AIGC>(?P<e>.*?)</TC260:AIGC>""", re.S
)
_PNG_LEVEL = 3  # 3 % larger than the usual 6, in a third of its time
_MAX_LABEL_BYTES = 1 << 20  # a label has a few hundred


def read_tags(path: PathLike) -> list[str]:
    """The texts of all metadata labels in a file, empty without one.

    The standard requires exactly one; the caller decides what several mean.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return _read_picture(path)
    if suffix == ".wav":
        return list(_read_wav(path))
    return _read_container(path)


def read_tags_of_unchanged(path: PathLike) -> list[str]:
    """As `read_tags`, of an input that is used again and again: read once in a process.

    It is read again when its inode, size or time of change is another one.
    """
    return list(_read_tags_once(Path(path)))


_read_tags_once = read_once(read_tags, files=256)


def recorded(*paths: PathLike) -> RecordedFrames:
    """What a copy of recordings' frames is written with: the first label that one of them carries.

    An AI-made recording stays labelled in every copy; its visible label is in its frames.
    """
    for path in paths:
        try:
            texts = read_tags_of_unchanged(path)
        except (HeygemError, OSError):  # a kind of file without tags
            continue
        if texts:
            return RecordedFrames({KEY: texts[0]})
    return RecordedFrames()


def write_tag(path: PathLike, text: str) -> None:
    """Write a metadata label into a finished WAV, PNG or JPEG, replacing earlier ones.

    The file is replaced atomically, or left unchanged.

    Raises
    ------
    OutputError
        Another kind of file, it cannot be written, or the label does not read back.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    staged = hidden_path(path, suffix)
    try:
        if suffix in PICTURE_SUFFIXES:
            _write_picture(path, staged, text)
        elif suffix == ".wav":
            _write_wav(path, staged, text)
        else:
            raise OutputError(
                "this kind of file cannot be labelled once it is finished",
                seen=path.name,
                remedy="pass the label to VideoWriter(label=)",
            )
        if read_tags(staged) != [text]:
            raise OutputError("the metadata label does not read back", seen=path.name)
        with open(staged, "rb") as f:
            os.fsync(f.fileno())
        os.replace(staged, path)
    except OSError as error:
        what = f"the metadata label of {path.name} cannot be written"
        raise disk.write_error(error, path, what=what) from error
    finally:
        staged.unlink(missing_ok=True)


def _read_container(path: Path) -> list[str]:
    from heygem.media.container import open_media

    with open_media(path) as container:
        labels = [v for k, v in container.metadata.items() if k.upper() == KEY]
        for stream in container.streams:
            labels += [v for k, v in stream.metadata.items() if k.upper() == KEY]
    return labels


def _read_wav(path: Path) -> Iterator[str]:
    """Texts of the `AIGC` chunks of a RIFF file; all other chunks are skipped."""
    with open(path, "rb") as f:
        head = f.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64"):
            return
        while len(header := f.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == KEY.encode() and size <= _MAX_LABEL_BYTES:
                yield f.read(size).rstrip(b"\0").decode("utf-8", "replace")
                f.seek(size % 2, os.SEEK_CUR)
            else:
                f.seek(size + size % 2, os.SEEK_CUR)


def _write_wav(path: Path, staged: Path, text: str) -> None:
    data = text.encode()
    with open(path, "rb") as source, open(staged, "wb") as out:
        head = source.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise OutputError("this is not a RIFF WAVE file", seen=path.name)
        out.write(head)
        while len(header := source.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            padded = size + size % 2
            if name == KEY.encode():  # an older label is removed: there must be one
                source.seek(padded, os.SEEK_CUR)
                continue
            out.write(header)
            while padded > 0 and (block := source.read(min(padded, 1 << 20))):
                out.write(block)
                padded -= len(block)
        if out.tell() % 2:
            out.write(b"\0")
        out.write(struct.pack("<4sI", KEY.encode(), len(data)) + data + b"\0" * (len(data) % 2))
        size = out.tell()
        if size - 8 > 0xFFFFFFFF:
            raise OutputError("the WAV file is too large for a label", seen=path.name)
        out.seek(4)
        out.write(struct.pack("<I", size - 8))


def _xmp(text: str) -> str:
    """An XMP packet that holds the label alone."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:TC260="{_NAMESPACE}" TC260:AIGC={quoteattr(text)}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def _write_picture(path: Path, staged: Path, text: str) -> None:
    from PIL import Image, PngImagePlugin

    # Only the label is written: location and camera of the source are not published.
    with Image.open(path) as picture:
        if picture.format == "PNG":
            info = PngImagePlugin.PngInfo()
            info.add_itxt("XML:com.adobe.xmp", _xmp(text))
            picture.save(staged, "PNG", pnginfo=info, compress_level=_PNG_LEVEL)
        elif picture.format == "JPEG":
            # "keep" reuses the quantization tables, so that the picture loses no quality.
            picture.save(staged, "JPEG", quality="keep", xmp=_xmp(text).encode(), exif=b"")
        else:
            raise OutputError("this picture is neither PNG nor JPEG", seen=path.name)


def _read_picture(path: Path) -> list[str]:
    from PIL import Image

    with Image.open(path) as picture:
        xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    if isinstance(xmp, bytes):
        xmp = xmp.decode("utf-8", "replace")
    entities = {"&quot;": '"', "&#34;": '"', "&apos;": "'", "&#39;": "'"}
    return [
        unescape(m["a"] if m["a"] is not None else m["e"], entities)
        for m in _XMP_LABEL.finditer(xmp)
    ]
