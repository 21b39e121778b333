"""What a recipe asks for, item by item: one video, one sound, a name of its own.

A recipe names many videos with one sound, or a table of pairs (`heygem.config.pairs`).
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from heygem.audio import tts
from heygem.config import pairs
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError
from heygem.core.files import safe_name, sha256
from heygem.media import write_wav

DETAILS = "details"  # folder beside the videos: manifests, contact sheets, curves


@dataclass(frozen=True)
class Item:
    """One video to make.

    Attributes
    ----------
    params : Params
        Its own recipe: one video, one sound or text, and what its row changes.
    """

    name: str
    video: Path
    output: Path
    details: Path
    params: Params = field(repr=False)

    @property
    def sound(self) -> str:
        """Sound file, or the text that is spoken."""
        inputs = self.params.inputs
        return str(inputs.audio if inputs.audio is not None else inputs.text)


def plan(params: Params) -> list[Item]:
    """The items of a batch, with names that are safe, unlike each other and stable.

    Raises
    ------
    ParameterError, InputError
        Nothing is asked for, or the table of pairs does not fit; row and column are named.
    """
    wanted = _people(params) if params.inputs.pairs is None else _rows(params)
    folder = Path(params.inputs.output)
    plain = [one.name or f"{one.video.stem}-{one.spoken}" for one in wanted]
    typed = [one.name or f"{one.video.stem}-{one.video.suffix[1:]}-{one.spoken}" for one in wanted]
    marked = [f"{one.mark}-{name}" for one, name in zip(wanted, typed, strict=True)]
    names = _unlike(_unlike(plain, typed), marked)
    return [
        Item(name, one.video, folder / f"{name}.mp4", folder / DETAILS / name, one.params)
        for name, one in zip(names, wanted, strict=True)
    ]


@dataclass(frozen=True)
class _Wanted:
    """An item before it has its final name: its recipe, its given name, a mark of its own."""

    params: Params
    mark: str
    name: str | None = None

    @property
    def video(self):
        return Path(self.params.inputs.videos[0])

    @property
    def spoken(self):
        audio = self.params.inputs.audio
        return "speech" if audio is None else Path(audio).stem


def _people(params):
    """Many videos, one sound."""
    inputs = params.inputs
    if not inputs.videos:
        raise ParameterError(
            "no video is named", remedy="list some under inputs.videos, or inputs.pairs"
        )
    if inputs.audio is None and inputs.text is None:
        raise ParameterError("no speech is named", remedy="give inputs.audio or inputs.text")
    videos = dict.fromkeys(inputs.videos)  # the same twice is one
    return [_Wanted(_own(params, video, {}), _mark(video)) for video in videos]


def _rows(params):
    """A table of pairs."""
    table = params.inputs.pairs
    rows = pairs.read(table) if isinstance(table, str) else table
    if not rows:
        raise ParameterError("the table of pairs is empty", remedy="write one pair a row")
    wanted = {}
    for pair in rows:
        changes = dict(pair.changes)
        if pair.audio is not None or pair.text is not None:
            changes |= {"inputs.audio": pair.audio, "inputs.text": pair.text}
        try:
            own = _own(params, pair.video, changes)
        except ParameterError as error:
            said = f"{pair.where}: {error.what}"
            raise ParameterError(said, seen=error.seen, remedy=error.remedy) from error
        if own.inputs.audio is None and own.inputs.text is None:
            raise ParameterError(
                f"{pair.where}: no speech is named", remedy="fill the column 'audio' or 'text'"
            )
        key = json.dumps([own.dotted(), pair.name], sort_keys=True)  # the same twice is one
        special = json.dumps(pair.row(), sort_keys=True, default=str)
        wanted.setdefault(key, _Wanted(own, _mark(pair.video, special), pair.name))
    return list(wanted.values())


def _own(params, video, changes):
    """The recipe of one item."""
    return params.override({"inputs.pairs": None, "inputs.videos": [video], **changes})


def _mark(video, special=""):
    """A short hash of the file's place and what is special: adding another does not change it."""
    told = os.fsencode(Path(video).absolute()) + special.encode("utf-8", "surrogateescape")
    return hashlib.sha256(told).hexdigest()[:6]


def _unlike(names, longer):
    """Safe names; those that would fall together, on any file system, give way to longer ones."""
    names = [safe_name(name) for name in names]
    keys = [name.casefold() for name in names]
    return [
        safe_name(other) if keys.count(key) > 1 else name
        for name, key, other in zip(names, keys, longer, strict=True)
    ]


class Sounds:
    """The sounds of a batch as files with their hashes, each worked out once; text is spoken."""

    def __init__(self, scratch: Path):
        self._scratch = scratch
        self._known: dict[tuple, tuple[Path, str]] = {}

    def known(self, item) -> Path | None:
        """The sound's file, if it was asked for before."""
        found = self._known.get(self._key(item))
        return found and found[0]

    def of(self, item) -> tuple[Path, str]:
        """File and sha256 [hex] of an item's sound."""
        key = self._key(item)
        if key not in self._known:
            inputs = item.params.inputs
            if inputs.audio is not None:
                path = Path(inputs.audio)
                self._known[key] = path, content_sha256(path)
            else:
                said = tts.synthesize(inputs.text, inputs.language, voice=inputs.voice)
                path = self._scratch / f"speech-{len(self._known)}.wav"
                write_wav(path, said.samples, said.rate_hz)
                self._known[key] = path, sha256(path)
        return self._known[key]

    @staticmethod
    def _key(item):
        inputs = item.params.inputs
        spoken = (inputs.text, inputs.language, inputs.voice)
        return (inputs.audio,) if inputs.audio is not None else spoken


def content_sha256(path: Path) -> str:
    """sha256 of an input; says in one line why it cannot be read."""
    try:
        return sha256(path)
    except FileNotFoundError as error:
        raise InputError("no such file", seen=path, remedy="check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read the file ({reason})", seen=path, remedy="give a readable media file"
        ) from error
