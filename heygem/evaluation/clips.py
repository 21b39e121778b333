"""What is judged: clips, folders of them, and short clips of one person joined into one.

A person who left forty sentences of three seconds has minutes of footage, but no sentence of them
can be split into a part to learn from and a part to judge on. Such clips are joined, without loss,
in the order of the manifest; where it says which were learnt from (`train`) and which were not
(`dev`), that is where the joined clip is split.
"""

import hashlib
import itertools
import logging
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from heygem import media
from heygem.core import files
from heygem.core.errors import InputError
from heygem.evaluation import lipreading

log = logging.getLogger(__name__)

SHORT_S = 10.0  # shorter clips of one person and one size are joined


@dataclass(frozen=True)
class Clip:
    """A video to judge on.

    Attributes
    ----------
    path : Path
    speaker : str
        Groups clips of one person in the means.
    boundary_s : float, optional
        Learnt from before, judged after; none: by the share that the settings name.
    sync : str
        What is known of its synchrony ("ok", "unsure", "lag 2 frames"); "" is nothing.
    more : tuple of Path
        Other footage of the person, only ever learnt from (few-shot).
    words : tuple of heygem.evaluation.lipreading.Word
        Transcript with times of this clip; empty where there is none.
    parts : tuple of Path
        The files it was joined from.
    """

    path: Path
    speaker: str
    boundary_s: float | None = None
    sync: str = ""
    more: tuple = ()
    words: tuple = ()
    parts: tuple = ()

    @classmethod
    def of(cls, item):
        """A clip from a path (the speaker is the folder's name) or from a Clip."""
        if isinstance(item, cls):
            return item
        path = Path(item)
        return cls(path, path.resolve().parent.name, words=lipreading.beside(path))

    @property
    def name(self):
        """How tables call it."""
        return f"{self.speaker} ({len(self.parts)} clips)" if self.parts else self.path.name

    @property
    def sha256(self):
        """Hash of the footage that is judged: of the file, or of the files it was joined from."""
        if not self.parts:
            return files.sha256(self.path)
        joined = "\n".join(files.sha256(p) for p in self.parts)
        return hashlib.sha256(joined.encode()).hexdigest()


@dataclass
class _Footage:
    """Files of one person, in the manifest's order."""

    judged: list = field(default_factory=list)
    learnt: list = field(default_factory=list)


def gather(items, folder):
    """Clips of files and folders.

    Parameters
    ----------
    items : list of path or Clip
        A folder with a `MANIFEST.csv` gives its speakers with `dev` clips; one without, all
        videos in it.
    folder : path
        Receives joined clips.

    Returns
    -------
    list of Clip
    """
    found = []
    for item in items:
        if not isinstance(item, Clip) and Path(item).is_dir():
            found.extend(_of_folder(Path(item), Path(folder)))
        else:
            found.append(Clip.of(item))
    return found


def _of_folder(place, folder):
    from heygem.training import dataset  # waits for torch

    people = defaultdict(_Footage)
    sources = dataset.find(place)
    marked = any(s.split == "dev" for s in sources)
    for source in sources:
        person = people[source.speaker]
        judged = source.split == "dev" or not marked
        (person.judged if judged else person.learnt).append(source)
    for person in people.values():
        if person.judged:
            yield from _of_person(person, folder)


def _of_person(person, folder):
    """Long clips each for itself, with the rest of the person's footage to learn more from."""
    first = person.judged[0]
    seconds = {s.path: _seconds(s.path) for s in person.judged + person.learnt}
    short = [s for s in person.judged if seconds[s.path] < SHORT_S]
    before = [s for s in person.learnt if seconds[s.path] < SHORT_S]
    joined = ()
    if len(short) + len(before) > 1 and short:
        learnt, judged = [s.path for s in before], [s.path for s in short]
        try:
            clip = join(learnt, judged, folder / f"{first.speaker}.mkv", first.speaker)
            joined = clip.parts
            yield replace(clip, sync=first.sync)
        except InputError as error:
            log.warning("not joined: %s", error)
    for source in person.judged:
        if source.path not in joined:
            others = (s.path for s in person.judged + person.learnt if s is not source)
            yield replace(Clip.of(source.path), speaker=source.speaker, sync=source.sync,
                          more=tuple(others))  # fmt: skip


def _seconds(path):
    return media.probe(path).duration_s


def join(learnt, judged, out, speaker):
    """Clips of one person and size, one after the other, bit for bit.

    Each part keeps its sound in time with its picture: sound is cut or filled with silence to the
    length of the part's frames.

    Parameters
    ----------
    learnt, judged : list of path
        The clip is split between them; without any to learn from, by share.
    out : path
        `.mkv` to write.
    speaker : str

    Returns
    -------
    Clip

    Raises
    ------
    InputError
        The clips differ in size, or one has no picture or no sound.
    """
    paths = [Path(p) for p in (*learnt, *judged)]
    infos = [media.probe(p) for p in paths]
    for path, info in zip(paths, infos, strict=True):
        if info.video is None or info.audio is None:
            raise InputError(f"{path.name} has no picture or no sound", remedy="leave it out")
    sizes = {(i.video.width, i.video.height) for i in infos}
    if len(sizes) > 1:
        raise InputError(
            f"the clips of {speaker} differ in size",
            seen=", ".join(f"{w}x{h}" for w, h in sorted(sizes)),
            remedy="give them one by one",
        )
    first = infos[0].video
    sounds = [media.read_audio(p) for p in paths]
    rate_hz = sounds[0].rate_hz
    if any(s.rate_hz != rate_hz for s in sounds):
        raise InputError(
            f"the clips of {speaker} differ in the rate of their sound",
            remedy="give them one by one",
        )
    step_s = float(1 / first.rate)
    counts = [_frames(p) for p in paths]
    starts = np.concatenate([[0.0], np.cumsum(counts) * step_s])
    samples = []
    for sound, start, stop in zip(sounds, starts[:-1], starts[1:], strict=True):
        wanted = round(stop * rate_hz) - round(start * rate_hz)
        mono = sound.samples.mean(1, keepdims=True)[:wanted]
        samples.append(np.pad(mono, ((0, wanted - len(mono)), (0, 0))))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    track = media.AudioTrack(np.concatenate(samples).astype(np.float32), rate_hz)
    clock = itertools.count()
    with media.VideoWriter(
        out, width=first.width, height=first.height, rate=first.rate, audio=track,
        lossless=True, preset="ultrafast",
    ) as writer:  # fmt: skip
        for path in paths:
            with media.VideoReader(path) as reader:
                for frame in reader:
                    writer.write(frame.image, next(clock) * step_s)
    said = [
        word.later(start)
        for path, start in zip(paths, starts[:-1], strict=True)
        for word in lipreading.beside(path)
    ]
    boundary_s = float(starts[len(learnt)]) if learnt else None
    return Clip(out, speaker, boundary_s, words=tuple(said), parts=tuple(paths))


def _frames(path):
    with media.VideoReader(path) as reader:
        return sum(1 for _ in reader)
