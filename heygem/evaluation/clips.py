"""Videos to evaluate: single files, folders of them, and short clips of one person joined.

A person with forty sentences of three seconds has minutes of footage, but no single sentence can be
divided into a library part and a held-out part. Such clips are joined without loss, in the order of
the manifest. Where the manifest marks some as `train` and some as `dev`, the joined clip is divided
between them.
"""

import hashlib
import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from heygem import media
from heygem.core import files
from heygem.core.errors import InputError
from heygem.core.types import FloatArray, PathLike
from heygem.evaluation import lipreading
from heygem.provenance import containers

if TYPE_CHECKING:
    from heygem.training.dataset import Source

log = logging.getLogger(__name__)

SHORT_S = 10.0  # shorter clips of one person and one size are joined


@dataclass(frozen=True)
class Clip:
    """A video to evaluate.

    Attributes
    ----------
    path : Path
    speaker : str
        Groups clips of one person in the means.
    boundary_s : float, optional
        Where the held-out part begins; None: by the `test_fraction` of the settings.
    sync : str
        What the manifest says of its synchrony ("ok", "unsure", "lag 2 frames"); "" is nothing.
    extra_footage : tuple of Path
        Other footage of the person, only ever fine-tuned on.
    words : tuple of heygem.evaluation.lipreading.Word
        Transcript with times of this clip; empty where there is none.
    parts : tuple of Path
        The files it was joined from.
    """

    path: Path
    speaker: str
    boundary_s: float | None = None
    sync: str = ""
    extra_footage: tuple[Path, ...] = ()
    words: tuple[lipreading.Word, ...] = ()
    parts: tuple[Path, ...] = ()

    @classmethod
    def from_path(cls, item: Union[PathLike, "Clip"]) -> "Clip":
        """A clip from a path (the speaker is the folder's name); a Clip is returned as it is."""
        if isinstance(item, cls):
            return item
        path = Path(item)  # type: ignore[arg-type]
        return cls(path, path.resolve().parent.name, words=lipreading.words_beside(path))

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.speaker} ({len(self.parts)} clips)" if self.parts else self.path.name

    @property
    def sha256(self) -> str:
        """Hash of the footage: of the file, or of the files it was joined from."""
        if not self.parts:
            return files.sha256(self.path)
        hashes = "\n".join(files.sha256(p) for p in self.parts)
        return hashlib.sha256(hashes.encode()).hexdigest()


@dataclass
class _Footage:
    """Files of one person, in the manifest's order."""

    held_out: list["Source"] = field(default_factory=list)
    library: list["Source"] = field(default_factory=list)


def collect_clips(items: Sequence[PathLike | Clip], folder: PathLike) -> list[Clip]:
    """Clips of files and folders.

    Parameters
    ----------
    items : list of path or Clip
        A folder with a `MANIFEST.csv` gives its speakers with `dev` clips; one without, all
        videos in it.
    folder : path
        Receives joined clips.
    """
    clips: list[Clip] = []
    for item in items:
        if not isinstance(item, Clip) and Path(item).is_dir():
            clips.extend(_clips_of_folder(Path(item), Path(folder)))
        else:
            clips.append(Clip.from_path(item))
    return clips


def _clips_of_folder(source_folder: Path, out_folder: Path) -> Iterator[Clip]:
    from heygem.training import dataset  # imports torch

    people: dict[str, _Footage] = defaultdict(_Footage)
    sources = dataset.find(source_folder)
    has_dev = any(s.split == "dev" for s in sources)
    for source in sources:
        person = people[source.speaker]
        held_out = source.split == "dev" or not has_dev
        (person.held_out if held_out else person.library).append(source)
    for person in people.values():
        if person.held_out:
            yield from _clips_of_person(person, out_folder)


def _clips_of_person(person: _Footage, folder: Path) -> Iterator[Clip]:
    """Short clips joined; long clips one by one, with the other footage to fine-tune on."""
    first = person.held_out[0]
    seconds = {s.path: media.probe(s.path).duration_s for s in person.held_out + person.library}
    short = [s for s in person.held_out if seconds[s.path] < SHORT_S]
    short_library = [s for s in person.library if seconds[s.path] < SHORT_S]
    joined: tuple[Path, ...] = ()
    if len(short) + len(short_library) > 1 and short:
        library, held_out = [s.path for s in short_library], [s.path for s in short]
        try:
            clip = join(library, held_out, folder / f"{first.speaker}.mkv", first.speaker)
            joined = clip.parts
            yield replace(clip, sync=first.sync)
        except InputError as error:
            log.warning("not joined: %s", error)
    for source in person.held_out:
        if source.path not in joined:
            others = (s.path for s in person.held_out + person.library if s is not source)
            yield replace(
                Clip.from_path(source.path),
                speaker=source.speaker,
                sync=source.sync,
                extra_footage=tuple(others),
            )


def join(
    library: Sequence[PathLike], held_out: Sequence[PathLike], out: PathLike, speaker: str
) -> Clip:
    """Concatenate clips of one person and size, pixel for pixel.

    The audio of each part is cut, or padded with silence, to the length of the part's frames, so
    that audio and picture stay in sync.

    Parameters
    ----------
    library, held_out : list of path
        The clip is divided between them; without any `library`, by the `test_fraction`.
    out : path
        `.mkv` to write.
    speaker : str

    Raises
    ------
    InputError
        The clips differ in size or sample rate, or one has no picture or no audio.
    """
    paths = [Path(p) for p in (*library, *held_out)]
    first = _check_joinable(paths, speaker)[0]
    tracks = [media.read_audio(p) for p in paths]
    if len({track.rate_hz for track in tracks}) > 1:
        raise InputError(
            f"the clips of {speaker} differ in their audio's sample rate",
            remedy="give them one by one",
        )
    step_s = float(1 / first.rate)
    starts_s = np.concatenate([[0.0], np.cumsum([_count_frames(p) for p in paths]) * step_s])
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    counter = itertools.count()
    with media.VideoWriter(
        out, label=containers.recorded(*paths), width=first.width, height=first.height,
        rate=first.rate,
        audio=_join_audio(tracks, starts_s), lossless=True, preset="ultrafast",
    ) as writer:  # fmt: skip
        for path in paths:
            with media.VideoReader(path) as reader:
                for frame in reader:
                    writer.write(frame.image, next(counter) * step_s)
    words = [
        word.shifted(start_s)
        for path, start_s in zip(paths, starts_s[:-1], strict=True)
        for word in lipreading.words_beside(path)
    ]
    boundary_s = float(starts_s[len(library)]) if library else None
    return Clip(out, speaker, boundary_s, words=tuple(words), parts=tuple(paths))


def _check_joinable(paths: Sequence[Path], speaker: str) -> list[media.VideoInfo]:
    videos = []
    for path in paths:
        info = media.probe(path)
        if info.video is None or info.audio is None:
            raise InputError(f"{path.name} has no picture or no audio", remedy="leave it out")
        videos.append(info.video)
    sizes = {(video.width, video.height) for video in videos}
    if len(sizes) > 1:
        raise InputError(
            f"the clips of {speaker} differ in size",
            seen=", ".join(f"{w}x{h}" for w, h in sorted(sizes)),
            remedy="give them one by one",
        )
    return videos


def _join_audio(tracks: Sequence[media.AudioTrack], starts_s: FloatArray) -> media.AudioTrack:
    """Mono audio of each part at the start of its frames; `starts_s` : [parts + 1]."""
    rate_hz = tracks[0].rate_hz
    samples = []
    for track, start_s, stop_s in zip(tracks, starts_s[:-1], starts_s[1:], strict=True):
        count = round(stop_s * rate_hz) - round(start_s * rate_hz)
        mono = track.samples.mean(1, keepdims=True)[:count]
        samples.append(np.pad(mono, ((0, count - len(mono)), (0, 0))))
    return media.AudioTrack(np.concatenate(samples).astype(np.float32), rate_hz)


def _count_frames(path: Path) -> int:
    with media.VideoReader(path) as reader:
        return sum(1 for _ in reader)
