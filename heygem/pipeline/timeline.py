"""Which of a person's frames is shown when, and those frames in that order."""

import contextlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from heygem import media
from heygem.core.errors import OutputError

STILL_RATE = Fraction(25)  # frames per second of a video made from a picture
BACKWARD_BYTES = 96 << 20  # pictures held to play a stretch backwards


@dataclass(frozen=True)
class Timeline:
    """Which of the avatar's frames is shown when.

    Attributes
    ----------
    order : int [T]
        Frame of the avatar's video.
    times_s : float64 [T]
        Time of each output frame.
    rate : Fraction
        Frames per second, nominal.
    spoken : int
        Output frames from here on lie behind the end of the sound.
    """

    order: np.ndarray
    times_s: np.ndarray
    rate: Fraction
    spoken: int

    def __len__(self):
        return len(self.order)


def build_timeline(person, duration_s, settings):
    """Fit a person's frames to the length of a sound.

    Parameters
    ----------
    person : heygem.avatar.Avatar
    duration_s : float
        Length of the sound.
    settings : heygem.config.params.MediaSettings
        `extend` says how a video that is too short goes on, `tail` what becomes of one that is
        too long.

    Returns
    -------
    Timeline
    """
    own = person.track.times_s - person.track.times_s[0]
    n = len(own)
    if n == 1:
        times_s = np.arange(max(1, int(np.ceil(duration_s * STILL_RATE)))) / float(STILL_RATE)
        return Timeline(np.zeros(len(times_s), int), times_s, STILL_RATE, len(times_s))
    rate = person.info.video.rate
    typical = float(np.median(np.diff(own)))
    if own[-1] + typical >= duration_s - 1e-6:
        spoken = int(np.searchsorted(own, duration_s - 1e-6))
        keep = n if settings.tail == "keep" else max(1, spoken)
        return Timeline(np.arange(keep), own[:keep], rate, spoken)
    order, times_s = [np.arange(n)], [own]
    end, backward = own[-1], True
    while end + typical < duration_s - 1e-6:
        if settings.extend == "pingpong":
            more = np.arange(n - 2, -1, -1) if backward else np.arange(1, n)
            moments = end + np.abs(own[more] - own[more[0] + (1 if backward else -1)])
        elif settings.extend == "loop":
            more = np.arange(n)
            moments = end + typical + own
        else:
            count = int(np.ceil((duration_s - end) / typical))
            more = np.full(count, n - 1)
            moments = end + typical * np.arange(1, count + 1)
        order.append(more)
        times_s.append(moments)
        end, backward = moments[-1], not backward
    order, times_s = np.concatenate(order), np.concatenate(times_s)
    keep = int(np.searchsorted(times_s, duration_s - 1e-6))
    return Timeline(order[:keep], times_s[:keep], rate, keep)


def frames_in_order(person, order):
    """Pictures of the avatar's video in any order of stretches, with bounded memory.

    Parameters
    ----------
    person : heygem.avatar.Avatar
    order : int [T]
        Stretches that run forwards, backwards or stand still.

    Yields
    ------
    uint8 [H, W, 3], RGB
    """
    size = person.track.width * person.track.height * 3
    chunk = max(8, BACKWARD_BYTES // size)
    k = 0
    while k < len(order):
        step = order[k + 1] - order[k] if k + 1 < len(order) else 1
        stop = k + 1
        while stop < len(order) and order[stop] - order[stop - 1] == step and step in (-1, 0, 1):
            stop += 1
        if step == 0:
            (image,) = _read(person, order[k], order[k])
            for _ in range(k, stop):
                yield image
        elif step == -1:
            for high in range(order[k], order[stop - 1] - 1, -chunk):
                low = max(order[stop - 1], high - chunk + 1)
                yield from reversed(list(_read(person, low, high)))
        else:
            yield from _read(person, order[k], order[stop - 1])
        k = stop


def _read(person, first, last):
    """Pictures `first` to `last` (both included) of the avatar's video."""
    times_s = person.track.times_s
    start_s = 0.0 if first == 0 else float(times_s[first - 1] + times_s[first]) / 2
    wanted = last - first + 1
    with contextlib.closing(media.VideoReader(person.path, start_s=start_s)) as reader:
        for frame in reader:
            yield frame.image
            wanted -= 1
            if wanted == 0:
                return
    # A file that ends earlier than when it was tracked has been changed in between.
    raise OutputError(
        f"{person.path.name} changed while it was read",
        seen=f"{wanted} frames fewer than when it was tracked",
        remedy="run it again",
    )
