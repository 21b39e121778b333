"""What a file looks and sounds like, in a few hundred bytes that survive re-encoding.

Pictures: twice a second, the signs of the 64 lowest frequencies of a small grey copy (perceptual
hash; Zauner, 2010). Sound: signs of energy differences between neighbouring bands and moments
(Haitsma and Kalker, ISMIR 2002). Two videos of one recording that say different things look alike
and sound different, so a copy is attributed to a run only where both agree.
"""

from dataclasses import dataclass

import cv2
import numpy as np

STEP_S = 0.5  # between two picture words
SOUND_STEP_S = 0.0928  # between two sound words
_SOUND_RATE_HZ = 8000
_WINDOW = 2048  # samples, 0.26 s
_BANDS = 33  # one more than the bits of a word
SAME_PICTURE = 0.20  # share of differing bits; unrelated pictures lie near 0.5
SAME_SOUND = 0.35  # Haitsma and Kalker's threshold


@dataclass(frozen=True)
class Fingerprint:
    """`picture : uint64 [n]`, `sound : uint32 [m]`."""

    picture: np.ndarray
    sound: np.ndarray

    def to_dict(self):
        return {
            "picture": [f"{int(word):016x}" for word in self.picture],
            "sound": self.sound.astype(">u4").tobytes().hex(),
        }

    @classmethod
    def from_dict(cls, data):
        return cls(
            np.array([int(word, 16) for word in data["picture"]], np.uint64),
            np.frombuffer(bytes.fromhex(data["sound"]), ">u4").astype(np.uint32),
        )


class PictureHasher:
    """Takes the frames of one clip as they go by."""

    def __init__(self):
        self._words = []
        self._next_s = None

    def add(self, image, time_s):
        """One frame: `uint8 [H, W, 3]`, RGB, and its time. Most cost nothing."""
        if self._next_s is not None and time_s < self._next_s - 1e-6:
            return
        self._next_s = (0.0 if self._next_s is None else self._next_s) + STEP_S
        step = max(1, min(image.shape[:2]) // 128)  # enough samples for 32, at any resolution
        small = cv2.resize(image[::step, ::step], (32, 32), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        low = cv2.dct(grey.astype(np.float32))[:9, :9].reshape(-1)[1:65]
        bits = (low > np.median(low)).astype(np.uint8)
        self._words.append(int.from_bytes(np.packbits(bits).tobytes(), "big"))

    @property
    def words(self):
        """uint64 [n]"""
        return np.array(self._words, np.uint64)


def hash_sound(samples, rate_hz):
    """Sound words of a mono signal.

    Parameters
    ----------
    samples : float32 [n]
    rate_hz : int

    Returns
    -------
    uint32 [m]
    """
    if len(samples) == 0:
        return np.zeros(0, np.uint32)
    count = int(len(samples) * _SOUND_RATE_HZ / rate_hz)
    if count < _WINDOW + 1:
        return np.zeros(0, np.uint32)
    hop = SOUND_STEP_S * _SOUND_RATE_HZ
    starts = np.round(np.arange(0, count - _WINDOW, hop)).astype(int)
    window = np.hanning(_WINDOW)
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / _SOUND_RATE_HZ)
    edges = np.geomspace(300, 2000, _BANDS + 1)  # Hz: what telephones and codecs keep
    band = np.digitize(frequencies, edges) - 1
    energy = np.empty((len(starts), _BANDS))
    for row, start in enumerate(starts):
        power = np.abs(np.fft.rfft(_resampled(samples, rate_hz, start) * window)) ** 2
        inside = (band >= 0) & (band < _BANDS)
        energy[row] = np.bincount(band[inside], power[inside], _BANDS)
    across = energy[:, :-1] - energy[:, 1:]
    bits = (across[1:] - across[:-1] > 0).astype(np.uint32)
    return (bits << np.arange(32, dtype=np.uint32)).sum(1, dtype=np.uint32)


def _resampled(samples, rate_hz, start):
    """One window at the bands' rate, from sample `start` at that rate : float64 [_WINDOW].

    Window by window, so that an hour of sound is never held a second time.
    """
    ratio = rate_hz / _SOUND_RATE_HZ
    places = (start + np.arange(_WINDOW)) * ratio
    # An area average before picking keeps what lies above 4 kHz from folding into the bands.
    width = max(1, round(ratio))
    low, high = int(places[0]), int(places[-1]) + 2
    first, last = max(0, low - width), min(len(samples), high + width)
    kernel = np.ones(width, np.float32) / width
    smooth = np.convolve(samples[first:last], kernel, "same")
    return np.interp(places - first, np.arange(len(smooth)), smooth)


def differing(a, b, *, least=4):
    """Share of differing bits at the best alignment of two word sequences, 0..1.

    Parameters
    ----------
    a, b : uint64 [n] or uint32 [n]
        The shorter is slid along the longer.
    least : int
        Fewer words than this cannot be compared.

    Returns
    -------
    float
        1.0 where they cannot be compared.
    """
    if len(a) > len(b):
        a, b = b, a
    if len(a) < least:
        return 1.0
    views = np.lib.stride_tricks.sliding_window_view(b, len(a))
    bits = np.bitwise_count(views ^ a).mean(1)
    return float(bits.min()) / (8 * a.dtype.itemsize)


def of_file(path):
    """The fingerprint of a finished file."""
    from heygem import media

    info = media.probe(path)
    hasher = PictureHasher()
    if info.video is not None:
        with media.VideoReader(path) as reader:
            for frame in reader:
                hasher.add(frame.image, frame.time_s)
    sound = np.zeros(0, np.uint32)
    if info.audio is not None:
        track = media.read_audio(path)
        sound = hash_sound(track.samples.mean(1), track.rate_hz)
    return Fingerprint(hasher.words, sound)
