"""Binding of the metadata label to the coded picture and sound.

`ReservedCode1` holds hashes of the coded video and audio and an Ed25519 signature over them and
over the label's first three fields. A label that is carried to another file therefore no longer
fits, and anyone with the public key can check it. The hashes cover the payload of the packets,
which stays the same in another container (MP4, MOV, MKV), but not their times.

The hashes are known only after encoding. The label is therefore encoded with zeros of the same
length (`reserve`), which `bind` overwrites in the finished file.
"""

import hashlib
import mmap
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import av

from heygem.core.errors import InputError, OutputError
from heygem.core.types import PathLike
from heygem.media.container import open_media, printable
from heygem.provenance.aigc import AigcLabel, parse_label
from heygem.provenance.ledger import Signer, Verifier

SCHEME = "ed25519-content"
DOMAIN = b"heygem label bound to content, 1\n"  # no other signature of the key covers this text
_EMPTY = "0" * 64  # hash of a kind of stream that the file does not have
_SIGNATURE_DIGITS = 128
_BLOCK_BYTES = 4 << 20  # of a file that is searched
_TAGS_ID = b"\x12\x54\xc3\x67"  # Matroska's element of all tags
_CRC_ID = b"\xbf\x84"  # its CRC-32, four bytes, little endian (RFC 8794, section 11.3.1)


@dataclass(frozen=True)
class ContentHash:
    """sha256 [hex] of a file's coded video and of its coded audio; 64 zeros without any."""

    picture: str
    sound: str


@dataclass(frozen=True)
class Binding:
    """The parts of a `ReservedCode1` that `bind` wrote: the key's name, hashes and signature."""

    key_name: str
    content: ContentHash
    signature: str

    @property
    def is_signed(self) -> bool:
        """False for what `reserve` wrote."""
        return self.signature.strip("0") != ""

    def to_text(self) -> str:
        """The text in the label."""
        hashes = f"{self.content.picture}:{self.content.sound}"
        return f"{SCHEME}:{self.key_name}:{hashes}:{self.signature}"


def reserve(key_name: str) -> str:
    """A `ReservedCode1` with zeros in place of what `bind` writes later."""
    return Binding(key_name, ContentHash(_EMPTY, _EMPTY), "0" * _SIGNATURE_DIGITS).to_text()


def parse_binding(text: str) -> Binding | None:
    """Parse a `ReservedCode1`; None for another form, such as a signature without content."""
    scheme, *parts = text.split(":")
    if scheme != SCHEME or len(parts) != 4:
        return None
    key_name, picture, sound, signature = parts
    return Binding(key_name, ContentHash(picture, sound), signature)


def signed_message(label: AigcLabel, content: ContentHash) -> bytes:
    """What `ReservedCode1` signs: the first three fields of the label, and the content."""
    return DOMAIN + label.signed_bytes + f"\n{content.picture}\n{content.sound}".encode()


def verify_binding(label: AigcLabel, keys: Verifier) -> bool | None:
    """Whether the label was signed together with the hashes it states; None for another's key.

    Whether these are the hashes of the file at hand is for `hash_content` to say.
    """
    binding = parse_binding(label.ReservedCode1)
    if binding is None:
        return None
    signature = f"ed25519:{binding.key_name}:{binding.signature}"
    return keys.verify(signed_message(label, binding.content), signature)


def hash_content(path: PathLike) -> ContentHash:
    """Hash the packets of a media file, as they are coded.

    Every video and every audio stream counts, so that none can be added unnoticed.

    Raises
    ------
    InputError
        The file cannot be read to its end.
    """
    digests: dict[int, tuple[str, hashlib._Hash]] = {}
    try:
        with open_media(path) as container:
            for stream in container.streams:
                if stream.type in ("video", "audio"):
                    digests[stream.index] = (stream.type, hashlib.sha256())
            for packet in container.demux():
                if packet.size and packet.stream.index in digests:
                    digest = digests[packet.stream.index][1]
                    digest.update(packet.size.to_bytes(8, "big"))
                    digest.update(packet)
    except av.FFmpegError as error:
        raise InputError(
            "the coded picture and sound cannot be read", seen=f"{printable(path)}: {error}"
        ) from error
    by_kind: dict[str, list[str]] = {"video": [], "audio": []}
    for kind, digest in digests.values():
        by_kind[kind].append(digest.hexdigest())
    return ContentHash(_combine(by_kind["video"]), _combine(by_kind["audio"]))


def bind(path: PathLike, reserved: str, keys: Signer) -> str:
    """Sign the content of a finished file, and write the signature into its label in place.

    Parameters
    ----------
    path
        Under its temporary name.
    reserved
        The text of the label in it, whose `ReservedCode1` is that of `reserve`.
    keys

    Returns
    -------
    str
        The text of the label that is now in the file.

    Raises
    ------
    OutputError
        The label is not in the file exactly once, or the file cannot be written.
    """
    label, _ = parse_label(reserved)
    if label is None:
        raise ValueError("the reserved label is not a label")
    content = hash_content(path)
    _, key_name, signature = keys.sign(signed_message(label, content)).split(":")
    bound = replace(label, ReservedCode1=Binding(key_name, content, signature).to_text())
    text = bound.to_json()
    try:
        _overwrite(Path(path), reserved.encode(), text.encode())
    except OSError as error:
        raise OutputError(
            "the metadata label cannot be bound to the content", seen=f"{printable(path)}: {error}"
        ) from error
    return text


def _combine(digests: list[str]) -> str:
    if len(digests) > 1:
        return hashlib.sha256("".join(digests).encode()).hexdigest()
    return digests[0] if digests else _EMPTY


def _overwrite(path: Path, old: bytes, new: bytes) -> None:
    """Replace the only occurrence of `old` by `new` of the same length, in place."""
    if len(old) != len(new):
        raise ValueError("the signature does not have the reserved length")
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        offsets = _occurrences(file, old)
        if len(offsets) != 1:
            raise OutputError(
                "the metadata label cannot be bound to the content",
                seen=f"the label is {'in it twice' if offsets else 'not in the file'}",
                remedy="write it as .mp4, .mov or .mkv",
            )
        (offset,) = offsets
        data[offset : offset + len(new)] = new
        if data[:4] == b"\x1a\x45\xdf\xa3":  # EBML, of Matroska
            _renew_checksum(data, offset)
        data.flush()
        os.fsync(file.fileno())


def _occurrences(file: BinaryIO, text: bytes) -> list[int]:
    """Where a text begins in a file, at most twice.

    The file is read block by block: a search in a map of it would keep all of it in memory.
    """
    offsets: list[int] = []
    start, rest = 0, b""  # of the block and what lies before it
    while (block := file.read(_BLOCK_BYTES)) and len(offsets) < 2:
        block = rest + block
        at = block.find(text)
        while at >= 0:
            offsets.append(start + at)
            at = block.find(text, at + 1)
        rest = block[len(block) - len(text) + 1 :] if len(block) >= len(text) else block
        start += len(block) - len(rest)
    return offsets[:2]


def _renew_checksum(data: mmap.mmap, offset: int) -> None:
    """Recompute the CRC-32 of the Matroska tags that hold `offset`, if they have one."""
    start = data.rfind(_TAGS_ID, 0, offset)
    if start < 0:
        return
    size_at = start + len(_TAGS_ID)
    width = 9 - data[size_at].bit_length()  # of a variable-length integer (RFC 8794, section 4)
    size = int.from_bytes(data[size_at : size_at + width], "big") & ((1 << (7 * width)) - 1)
    body = size_at + width
    if data[body : body + 2] == _CRC_ID and offset < body + size:
        checksum = zlib.crc32(data[body + 6 : body + size])
        data[body + 2 : body + 6] = checksum.to_bytes(4, "little")
