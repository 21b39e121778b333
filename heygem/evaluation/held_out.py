"""The held-out part of a clip: its frames, its real mouth, and where there is speech."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from heygem import audio
from heygem.core.errors import InputError
from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.evaluation import lipreading, motion_metrics
from heygem.evaluation.split import Person, Split, compact_runs
from heygem.rendering.warp.renderer import replacement_strength

log = logging.getLogger(__name__)

MIN_SPEECH = 0.3  # fraction of held-out frames; below it there is no speech to evaluate


@dataclass(frozen=True)
class TestClip:
    """Everything about one clip that is the same for all methods.

    Attributes
    ----------
    person : heygem.evaluation.split.Person
    frames : int [T]
        Held-out frames whose mouth is replaced altogether, as frame numbers of the clip.
    runs : list of (start, stop)
        Ranges of `frames` without a gap or a cut inside.
    speech : bool [T]
        Voice activity.
    real : MouthCurves
        The real mouth at `frames`.
    closed_gap : float
        Aperture under which this person's mouth counts as closed, IOD; of the library part.
    windows : int
        Number of windows the spread is taken over.
    real_lag_corrected : MouthCurves
        The real mouth at `frames` after the file's own lag has been corrected.
    reader : heygem.evaluation.lipreading.LipReader, optional
        Trained on the real mouth of the library part.
    words : tuple of heygem.evaluation.lipreading.Word
        Transcript of the whole clip.
    left_out : dict of str to int
        Held-out frames that are not judged: `unusable` ones, which show the real mouth, and those
        `near_unusable`, in which the new mouth fades to the real one.
    """

    __test__ = False  # not a test, whatever pytest concludes from its name

    person: Person
    frames: IntArray
    runs: list[tuple[int, int]]
    speech: BoolArray
    real: motion_metrics.MouthCurves
    closed_gap: float
    windows: int
    real_lag_corrected: motion_metrics.MouthCurves
    reader: lipreading.LipReader | None = None
    words: tuple[lipreading.Word, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    def part(self, keep: BoolArray) -> "TestClip":
        """The same clip with some of its frames only, bool [T]."""
        track = self.person.avatar.track
        frames = self.frames[keep]
        kept = np.zeros(len(track), bool)
        kept[frames] = True
        return replace(
            self,
            frames=frames,
            runs=compact_runs(track, kept),
            speech=self.speech[keep],
            real=self.real.part(keep),
            real_lag_corrected=self.real_lag_corrected.part(keep),
        )

    @property
    def times_s(self) -> FloatArray:
        """Presentation times of `frames`, float64 [T]."""
        return self.real.times_s


def build_test_clip(
    person: Person,
    samples: FloatArray,
    *,
    words: Sequence[lipreading.Word] = (),
    file_lag_s: float = 0.0,
    windows: int = 4,
    max_s: float = 30.0,
) -> TestClip:
    """Held-out frames, their real mouth and where there is speech.

    Parameters
    ----------
    person : heygem.evaluation.split.Person
    samples : float32 [n]
        The clip's audio, 16 kHz mono.
    words : sequence of heygem.evaluation.lipreading.Word
        Transcript of the clip; without one, no words are read.
    file_lag_s : float
        How late the real mouth is in the file.
    windows : int
        Number of windows the spread is taken over.
    max_s : float
        Longest held-out part; of a longer one, its beginning is taken, whatever it contains.

    Raises
    ------
    InputError
        The held-out part has no usable face, or hardly any speech.
    """
    avatar, split = person.avatar, person.split
    times_s = avatar.track.times_s
    voice = audio.voice_activity(samples)
    speech = audio.speech_at(voice, times_s)
    split = replace(split, end_s=min(split.end_s, len(samples) / audio.RATE_HZ))
    split = replace(split, end_s=min(split.end_s, split.start_s + max_s))
    person = replace(person, split=split)
    held_out = split.held_out(times_s)
    # Next to unusable frames the new mouth fades to the real one: that is nothing to judge it by.
    keep = held_out & (replacement_strength(avatar) >= 1)
    _check_usable(avatar.path.name, keep, speech, windows)
    rate_hz = float(1 / np.median(np.diff(times_s)))
    tracked = avatar.track.detected
    canonical = person.canonical(
        avatar.track.points[tracked], compact_runs(avatar.track, tracked), rate_hz
    )
    whole = motion_metrics.mouth_curves(canonical, times_s[tracked])
    real = whole.part(keep[tracked])
    library = whole.part(whole.times_s < split.library_end_s)
    return TestClip(
        person=person,
        frames=np.flatnonzero(keep),
        runs=compact_runs(avatar.track, keep),
        speech=speech[keep],
        real=real,
        closed_gap=motion_metrics.closed_gap(library.aperture),
        windows=windows,
        # A mouth that is late shows at t + lag what the audio says at t.
        real_lag_corrected=whole.at(real.times_s + file_lag_s),
        reader=_train_reader(whole, words, split),
        words=tuple(words),
        left_out={
            "unusable": int((held_out & ~avatar.usable).sum()),
            "near_unusable": int((held_out & avatar.usable & ~keep).sum()),
        },
    )


def _check_usable(name: str, keep: BoolArray, speech: BoolArray, windows: int) -> None:
    if keep.sum() < 2 * windows:
        raise InputError(
            f"{name} has no usable face in its held-out part",
            seen=f"{int(keep.sum())} frames",
            remedy="use a clip in which the person looks roughly into the camera",
        )
    if speech[keep].mean() < MIN_SPEECH:
        raise InputError(
            f"there is hardly any speech in the held-out part of {name}",
            seen=f"{speech[keep].mean():.0%} of it",
            remedy="use another clip, or another test_fraction",
        )


def _train_reader(
    mouth: motion_metrics.MouthCurves, words: Sequence[lipreading.Word], split: Split
) -> lipreading.LipReader | None:
    """A lip reader trained on the library part; None without a transcript of enough words."""
    if not words:
        return None
    try:
        return lipreading.LipReader(mouth, words, (0.0, split.library_end_s))
    except InputError as error:
        log.warning("word accuracy is not measured: %s", error)
        return None
