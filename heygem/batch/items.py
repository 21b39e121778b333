"""The items of a batch: one video, one speech, its own settings and its own name.

A recipe names videos and sounds (`heygem.batch.input_files`), or a table of pairs
(`heygem.config.pairs`); a sweep (`heygem.config.sweeps`) makes each of these several times.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heygem.audio import tts
from heygem.batch import input_files
from heygem.config import pairs, sweeps
from heygem.config.params import Params
from heygem.config.sweeps import Sweep, Variant
from heygem.core.errors import ParameterError
from heygem.core.files import MAX_NAME_BYTES, hash_input, is_address, safe_name
from heygem.core.types import PathLike
from heygem.media import write_wav

MAX_ITEMS = 10_000
DETAILS = "details"  # folder beside the videos: manifests, contact sheets, lip curves


@dataclass(frozen=True)
class Item:
    """One video to make.

    Attributes
    ----------
    name : str
        Safe as a file name, unique within the batch, stable from run to run.
    video, output, details : Path
        Input video; result; folder of the manifest and the figures.
    params : Params
        The item's own recipe: one video, one audio file or text, with its row's changes applied.
    group : str
        Items of one group have video and speech in common, and differ in what a sweep varies.
    variant : str
        What the sweep changes, as in "openness_gain=0.8"; empty without a sweep.
    """

    name: str
    video: Path
    output: Path
    details: Path
    params: Params = field(repr=False)
    group: str = ""
    variant: str = ""

    @property
    def speech(self) -> str:
        """Audio file, or the text to speak."""
        inputs = self.params.inputs
        return str(inputs.audio if inputs.audio is not None else inputs.text)

    @property
    def location(self) -> str:
        """Of the result: an absolute path, or an address in a store, which no `Path` holds."""
        folder = self.params.inputs.output
        if is_address(folder):
            return f"{folder.rstrip('/')}/{self.output.name}"
        return str(self.output.absolute())


def plan_items(params: Params) -> list[Item]:
    """The items of a batch, in the order of the recipe or the table; variants side by side.

    Raises
    ------
    ParameterError, InputError
        No inputs are named, a pattern matches nothing, there are too many, or the table of pairs
        is invalid; row and column are named.
    """
    drafts = _from_videos(params) if params.inputs.pairs is None else _from_pairs(params)
    variants = sweeps.variants(params.sweep)
    count = len(drafts) * len(variants)
    if count > MAX_ITEMS:
        raise ParameterError(
            "the batch has too many items",
            seen=f"{count:,}",
            remedy=f"at most {MAX_ITEMS:,}; make several batches of it",
        )
    short = [draft.name or f"{draft.video.stem}-{draft.speech}" for draft in drafts]
    long = [
        draft.name or f"{draft.video.stem}-{draft.video.suffix[1:]}-{draft.speech}"
        for draft in drafts
    ]
    hashed = [f"{draft.hash}-{name}" for draft, name in zip(drafts, long, strict=True)]
    names = _resolve_clashes(_resolve_clashes(short, long), hashed)
    return [
        item
        for name, draft in zip(names, drafts, strict=True)
        for item in _items(name, draft, params.sweep, variants)
    ]


def _items(group: str, draft: "_Draft", sweep: Sweep | None, variants: list[Variant]) -> list[Item]:
    """The items of one video with one speech: one, or one for each variant."""
    folder = Path(draft.params.inputs.output)
    if sweep is None:
        return [_item(group, draft, draft.params, folder, group)]
    conflict = next((key for key in sweeps.settings_of(sweep) if key in draft.changes), None)
    if conflict is not None:
        raise ParameterError(
            f"{draft.where}: the row sets {conflict!r}, which the sweep varies",
            remedy="leave the cell empty, or the setting out of the sweep",
        )
    labels = [sweeps.label(variant, sweep) for variant in variants]
    names = _variant_names(group, labels)
    return [
        _item(name, draft, draft.params.override(variant), folder, group, label)
        for name, variant, label in zip(names, variants, labels, strict=True)
    ]


def _item(
    name: str, draft: "_Draft", params: Params, folder: Path, group: str, variant: str = ""
) -> Item:
    output, details = folder / f"{name}.mp4", folder / DETAILS / name
    return Item(name, draft.video, output, details, params, group, variant)


def _variant_names(group: str, labels: Sequence[str]) -> list[str]:
    """`GROUP-LABEL`; the group is shortened before the label is, which tells them apart."""
    safe = [safe_name(label, max_bytes=MAX_NAME_BYTES // 2) for label in labels]
    keys = [label.casefold() for label in safe]
    unique = [  # labels that differ only in characters that no file name has
        label if keys.count(key) == 1 else f"{label}-{number}"
        for number, (label, key) in enumerate(zip(safe, keys, strict=True), start=1)
    ]
    room = MAX_NAME_BYTES - 1 - max(len(label.encode()) for label in unique)
    return [f"{safe_name(group, max_bytes=room)}-{label}" for label in unique]


@dataclass(frozen=True)
class _Draft:
    """An item without its final name.

    `name`, `changes` and `where` are those of its row in a table of pairs.
    """

    params: Params
    hash: str
    name: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def video(self) -> Path:
        return Path(self.params.inputs.videos[0])

    @property
    def speech(self) -> str:
        audio = self.params.inputs.audio
        return "speech" if audio is None else Path(audio).stem


def _from_videos(params: Params) -> list[_Draft]:
    """Many videos with one speech, or with several sounds."""
    inputs = params.inputs
    if not inputs.videos:
        raise ParameterError(
            "no video is named", remedy="list some under inputs.videos, or inputs.pairs"
        )
    if inputs.audio is None and inputs.text is None and not inputs.audios:
        raise ParameterError(
            "no speech is named", remedy="give inputs.audio, inputs.audios or inputs.text"
        )
    videos = input_files.expand(inputs.videos, "video")  # duplicates are made once
    if not inputs.audios:
        return [_Draft(_item_params(params, video, {}), _short_hash(video)) for video in videos]
    audios = input_files.expand(inputs.audios, "audio")
    return [
        _Draft(_item_params(params, video, {"inputs.audio": audio}), _short_hash(video, audio))
        for video, audio in input_files.combine(videos, audios, inputs.combine)
    ]


def _from_pairs(params: Params) -> list[_Draft]:
    """A table of pairs."""
    table = params.inputs.pairs
    rows = pairs.read(table) if isinstance(table, str) else table
    if not rows:
        raise ParameterError("the table of pairs is empty", remedy="write one pair a row")
    drafts: dict[str, _Draft] = {}
    for pair in rows:
        changes = dict(pair.changes)
        if pair.audio is not None or pair.text is not None:
            changes |= {"inputs.audio": pair.audio, "inputs.text": pair.text}
        try:
            own = _item_params(params, pair.video, changes)
        except ParameterError as error:
            message = f"{pair.where}: {error.what}"
            raise ParameterError(message, seen=error.seen, remedy=error.remedy) from error
        if own.inputs.audio is None and own.inputs.text is None:
            raise ParameterError(
                f"{pair.where}: no speech is named", remedy="fill the column 'audio' or 'text'"
            )
        key = json.dumps([own.dotted(), pair.name], sort_keys=True)  # duplicates are made once
        row = json.dumps(pair.row(), sort_keys=True, default=str)
        draft = _Draft(own, _short_hash(pair.video, row), pair.name, pair.changes, pair.where)
        drafts.setdefault(key, draft)
    return list(drafts.values())


def _item_params(params: Params, video: str, changes: dict[str, Any]) -> Params:
    alone = {"inputs.pairs": None, "inputs.videos": [video], "inputs.audios": [], "sweep": None}
    return params.override({**alone, "inputs.combine": "all", **changes})


def _short_hash(video: PathLike, row: str = "") -> str:
    """Six hexadecimal digits of the video's path and its row, independent of the other items."""
    content = os.fsencode(Path(video).absolute()) + row.encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:6]


def _resolve_clashes(names: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Safe names; names equal on a case-insensitive file system are replaced by longer ones."""
    names = [safe_name(name) for name in names]
    counts = Counter(name.casefold() for name in names)
    return [
        safe_name(other) if counts[name.casefold()] > 1 else name
        for name, other in zip(names, longer, strict=True)
    ]


@dataclass(frozen=True)
class SpeechFile:
    """An audio file and the sha256 [hex] of its content."""

    path: Path
    sha256: str


class SpeechFiles:
    """The speech of each item as a file; every file is hashed, and every text spoken, once.

    Parameters
    ----------
    folder : Path
        Receives the WAV files of spoken texts.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[tuple[str | None, ...], SpeechFile] = {}

    def cached(self, item: Item) -> Path | None:
        """Path of the item's speech if `get` was called for it before, else None."""
        file = self._files.get(self._key(item))
        return file.path if file is not None else None

    def get(self, item: Item) -> SpeechFile:
        """The item's speech; a text is synthesized.

        Raises
        ------
        InputError
            The file cannot be read, or the text cannot be spoken.
        """
        key = self._key(item)
        if key not in self._files:
            inputs = item.params.inputs
            if inputs.audio is not None:
                path = Path(inputs.audio)
                self._files[key] = SpeechFile(path, hash_input(path, reread=False))
            else:
                utterance = tts.synthesize(inputs.text or "", inputs.language, voice=inputs.voice)
                path = self._folder / f"speech-{len(self._files)}.wav"
                write_wav(path, utterance.samples, utterance.rate_hz)
                self._files[key] = SpeechFile(path, hash_input(path, reread=False))
        return self._files[key]

    @staticmethod
    def _key(item: Item) -> tuple[str | None, ...]:
        inputs = item.params.inputs
        if inputs.audio is not None:
            return (inputs.audio,)
        return inputs.text, inputs.language, inputs.voice
