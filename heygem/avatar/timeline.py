"""Which of an avatar's frames an output frame shows and when, and those frames in that order."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from heygem import media
from heygem.avatar.avatar import Avatar
from heygem.config.params import MediaSettings
from heygem.core.errors import OutputError
from heygem.core.types import FloatArray, Image, IntArray
from heygem.media.colour import ColourCoding
from heygem.media.yuv import FrameBuffers, Picture, YuvImage

STILL_RATE = Fraction(25)  # frames per second of a video made from a still portrait
BACKWARD_BYTES = 96 << 20  # frames that are decoded at once to be played backwards
BACKWARD_AHEAD = 3  # frames more in memory, so that the next ones are there in time


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
        Number of output frames before the end of the sound; later ones stay as they are.
    """

    order: IntArray
    times_s: FloatArray
    rate: Fraction
    spoken: int

    def __len__(self) -> int:
        return len(self.order)

    @property
    def duration_s(self) -> float:
        """Time at which the last frame ends, seconds."""
        step = float(np.median(np.diff(self.times_s))) if len(self) > 1 else 0.0
        return float(self.times_s[-1]) + step

    def part(self, rows: IntArray) -> "Timeline":
        """The timeline of some output frames; times stay on the sound's clock.

        Parameters
        ----------
        rows : int [n], ascending
        """
        spoken = int(np.searchsorted(rows, self.spoken))
        return Timeline(self.order[rows], self.times_s[rows], self.rate, spoken)


def build_timeline(avatar: Avatar, duration_s: float, settings: MediaSettings) -> Timeline:
    """Fit an avatar's frames to the length of a sound.

    Parameters
    ----------
    avatar : Avatar
    duration_s : float
        Length of the sound.
    settings : MediaSettings
        `extend` says how a video that is too short continues, `tail` what becomes of the rest of
        one that is too long.
    """
    own = avatar.track.times_s - avatar.track.times_s[0]
    n = len(own)
    if avatar.is_still:
        times_s = still_times_s(duration_s)
        period = max(1, 2 * n - 2)  # of frames that are shown back and forth
        position = np.arange(len(times_s)) % period
        order = np.minimum(position, period - position)
        return Timeline(order, times_s, STILL_RATE, len(times_s))
    assert avatar.info.video is not None  # an avatar is made from a video
    rate = avatar.info.video.rate
    step = float(np.median(np.diff(own)))
    if own[-1] + step >= duration_s - 1e-6:
        spoken = int(np.searchsorted(own, duration_s - 1e-6))
        count = n if settings.tail == "keep" else max(1, spoken)
        return Timeline(np.arange(count), own[:count], rate, spoken)
    orders, stretches = [np.arange(n)], [own]
    end, backward = own[-1], True
    while end + step < duration_s - 1e-6:
        if settings.extend == "pingpong":
            frames = np.arange(n - 2, -1, -1) if backward else np.arange(1, n)
            moments = end + np.abs(own[frames] - own[frames[0] + (1 if backward else -1)])
        elif settings.extend == "loop":
            frames = np.arange(n)
            moments = end + step + own
        else:
            count = int(np.ceil((duration_s - end) / step))
            frames = np.full(count, n - 1)
            moments = end + step * np.arange(1, count + 1)
        orders.append(frames)
        stretches.append(moments)
        end, backward = moments[-1], not backward
    order, times_s = np.concatenate(orders), np.concatenate(stretches)
    count = int(np.searchsorted(times_s, duration_s - 1e-6))
    return Timeline(order[:count], times_s[:count], rate, count)


def still_times_s(duration_s: float) -> FloatArray:
    """Times of the frames of a video that is made from a still portrait : float64 [T]."""
    return np.arange(max(1, int(np.ceil(duration_s * STILL_RATE)))) / float(STILL_RATE)


def frames_in_order(avatar: Avatar, order: IntArray) -> Iterator[Image]:
    """Decode an avatar's frames in any order of stretches, with bounded memory.

    Parameters
    ----------
    avatar : Avatar
    order : int [T]
        Stretches that run forwards, backwards or stand still.

    Yields
    ------
    uint8 [H, W, 3], RGB

    Raises
    ------
    OutputError
        The file has fewer frames than when it was tracked.
    """
    size = avatar.track.width * avatar.track.height * 3
    images = lambda reader: (frame.image for frame in reader)  # noqa: E731
    return _in_order(avatar, order, images, size)


def planes_in_order(avatar: Avatar, order: IntArray, coding: ColourCoding) -> Iterator[YuvImage]:
    """As `frames_in_order`, in the codec's planes.

    Parameters
    ----------
    avatar : Avatar
        Of even width and height.
    order : int [T]
    coding : ColourCoding
        Of the film that the frames are for.
    """
    size = avatar.track.width * avatar.track.height * 3 // 2
    buffers = FrameBuffers()
    return _in_order(avatar, order, lambda reader: reader.yuv_images(coding, buffers), size)


def _in_order(
    avatar: Avatar,
    order: IntArray,
    pictures: Callable[[media.VideoReader], Iterator[Picture]],
    size: int,
) -> Iterator[Picture]:
    """Pictures of `size` bytes in any order of stretches."""
    if avatar.animation is not None:
        (still,) = _decode(avatar, 0, 0, pictures)
        yield from (avatar.animation.picture(still, int(frame)) for frame in order)
        return
    chunk = max(8, BACKWARD_BYTES // size)
    k = 0
    while k < len(order):
        step = order[k + 1] - order[k] if k + 1 < len(order) else 1
        stop = k + 1
        while stop < len(order) and order[stop] - order[stop - 1] == step and step in (-1, 0, 1):
            stop += 1
        if step == 0:
            (image,) = _decode(avatar, order[k], order[k], pictures)
            for _ in range(k, stop):
                yield image
        elif step == -1:
            yield from _backwards(avatar, order[k], order[stop - 1], pictures, chunk)
        else:
            yield from _decode(avatar, order[k], order[stop - 1], pictures)
        k = stop


def _backwards(
    avatar: Avatar,
    first: int,
    last: int,
    pictures: Callable[[media.VideoReader], Iterator[Picture]],
    chunk: int,
) -> Iterator[Picture]:
    """Frames `first` down to `last`, both included, decoded `chunk` at once.

    Another thread decodes the next ones meanwhile: most of that goes to frames between the key
    frame before them and them, and whoever takes the pictures would wait for it. It keeps a frame
    for each that was taken, so that no more than one chunk and a few frames are in memory.
    """
    room = threading.Semaphore(chunk + BACKWARD_AHEAD)
    closed = threading.Event()

    def decode(high: int) -> list[Picture]:
        images: list[Picture] = []
        with contextlib.closing(
            _decode(avatar, max(last, high - chunk + 1), high, pictures)
        ) as decoded:
            for image in decoded:
                room.acquire()
                if closed.is_set():
                    break
                # A decoder frees its pictures no sooner than the last of them.
                images.append(image.copy())
        return images

    with ThreadPoolExecutor(1) as pool:

        def start(high: int) -> Future[list[Picture]]:
            # With this thread's context, so that a cancellation of its work is one of the other's.
            return pool.submit(contextvars.copy_context().run, decode, high)

        try:
            following = start(first)
            for high in range(first, last - 1, -chunk):
                images = following.result()
                if high - chunk >= last:
                    following = start(high - chunk)
                while images:
                    yield images.pop()
                    room.release()
        finally:
            closed.set()
            room.release()  # for the other thread, should it wait


def _decode(
    avatar: Avatar,
    first: int,
    last: int,
    pictures: Callable[[media.VideoReader], Iterator[Picture]],
) -> Generator[Picture, None, None]:
    """Frames `first` to `last`, both included, of the avatar's video."""
    times_s = avatar.track.times_s
    start_s = 0.0 if first == 0 else float(times_s[first - 1] + times_s[first]) / 2
    missing = last - first + 1
    with contextlib.closing(media.VideoReader(avatar.path, start_s=start_s)) as reader:
        for picture in pictures(reader):
            yield picture
            missing -= 1
            if missing == 0:
                return
    # A file that ends earlier than when it was tracked has been changed in between.
    raise OutputError(
        f"{avatar.path.name} changed while it was read",
        seen=f"{missing} frames fewer than when it was tracked",
        remedy="run it again",
    )
