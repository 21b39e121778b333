"""Where each kind of file keeps its metadata label: reading all of them, writing those we export.

MP4, MOV, MKV, WebM, MP3, FLV and FLAC keep it among their tags, under the key `AIGC`; videos get it
while they are written. WAV keeps it in a RIFF chunk of that name and pictures in XMP, which FFmpeg
drops without a word, so they are written here, byte by byte.
"""

import os
import re
import struct
from pathlib import Path
from xml.sax.saxutils import quoteattr, unescape

from heygem.core.errors import OutputError
from heygem.provenance.aigc import KEY

PICTURES = (".png", ".jpg", ".jpeg")
NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_XMP_READ = re.compile(
    r"""TC260:AIGC\s*=\s*(?P<q>["'])(?P<a>.*?)(?P=q)|<TC260:AIGC>(?P<e>.*?)</TC260:AIGC>""", re.S
)
_MAX_LABEL = 1 << 20  # bytes; a label is a few hundred


def read_tags(path):
    """The texts of all metadata labels in a file: list of str, empty where there are none.

    The standard wants exactly one; more than one is for the caller to judge.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return _from_picture(path)
    if suffix == ".wav":
        return [text for name, text in _riff_chunks(path) if name == KEY]
    return _from_container(path)


def stamp(path, text):
    """Write a metadata label into a finished WAV, PNG or JPEG, in place of any it has.

    The file is replaced whole, or left as it was.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    work = path.with_name(f".{os.getpid()}-{path.stem[:40]}.part{suffix}")
    try:
        if suffix in PICTURES:
            _into_picture(path, work, text)
        elif suffix == ".wav":
            _into_wav(path, work, text)
        else:
            raise OutputError(
                "this kind of file cannot be labelled once it is finished",
                seen=path.name,
                remedy="write it with the label (VideoWriter's metadata)",
            )
        if read_tags(work) != [text]:
            raise OutputError("the metadata label does not read back", seen=path.name)
        with open(work, "rb") as f:
            os.fsync(f.fileno())
        os.replace(work, path)
    except OSError as e:
        raise OutputError(
            "the metadata label cannot be written",
            seen=f"{path.name}: {e}",
            remedy="check free disk space and the folder's rights",
        ) from e
    finally:
        work.unlink(missing_ok=True)


def _from_container(path):
    from heygem.media.probe import open_media

    with open_media(path) as container:
        found = [v for k, v in container.metadata.items() if k.upper() == KEY]
        for stream in container.streams:
            found += [v for k, v in stream.metadata.items() if k.upper() == KEY]
    return found


def _riff_chunks(path):
    """(name, text) of the chunks of a RIFF file, sound data skipped."""
    with open(path, "rb") as f:
        head = f.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64"):
            return
        while len(header := f.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == KEY.encode() and size <= _MAX_LABEL:
                yield KEY, f.read(size).rstrip(b"\0").decode("utf-8", "replace")
                f.seek(size % 2, os.SEEK_CUR)
            else:
                f.seek(size + size % 2, os.SEEK_CUR)


def _into_wav(path, work, text):
    data = text.encode()
    with open(path, "rb") as source, open(work, "wb") as out:
        head = source.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise OutputError("this is not a plain WAV file", seen=path.name)
        out.write(head)
        while len(header := source.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            padded = size + size % 2
            if name == KEY.encode():  # an older label goes: there is to be one
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


def _xmp(text):
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:TC260="{NAMESPACE}" TC260:AIGC={quoteattr(text)}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def _into_picture(path, work, text):
    from PIL import Image, PngImagePlugin

    # Only the label goes in: the place and the camera of the source stay out of what is published.
    with Image.open(path) as picture:
        if picture.format == "PNG":
            info = PngImagePlugin.PngInfo()
            info.add_itxt("XML:com.adobe.xmp", _xmp(text))
            picture.save(work, "PNG", pnginfo=info)
        elif picture.format == "JPEG":
            # "keep" copies the coefficients' tables; the picture is not made coarser.
            picture.save(work, "JPEG", quality="keep", xmp=_xmp(text).encode(), exif=b"")
        else:
            raise OutputError("this picture is neither PNG nor JPEG", seen=path.name)


def _from_picture(path):
    from PIL import Image

    with Image.open(path) as picture:
        xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    if isinstance(xmp, bytes):
        xmp = xmp.decode("utf-8", "replace")
    entities = {"&quot;": '"', "&#34;": '"', "&apos;": "'", "&#39;": "'"}
    return [
        unescape(m["a"] if m["a"] is not None else m["e"], entities)
        for m in _XMP_READ.finditer(xmp)
    ]
