"""The sound of a film, encoded as AAC a little ahead of the frames."""

from fractions import Fraction

import av
import numpy as np
from av.container import OutputContainer

from heygem.media.audio_filter import audio_frame
from heygem.media.audio_io import AudioSource

_RATES_HZ = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip  # ISO/IEC 14496-3, table 1.18
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_AHEAD_S = 0.5  # sound is encoded this far ahead of the frames


class AacTrack:
    """Encodes a sound into a container, block by block.

    Parameters
    ----------
    container : OutputContainer
        Gets a stream; it has not begun to encode.
    audio : AudioSource
        Starts at time 0. Rates that AAC lacks go to the next higher.

    Attributes
    ----------
    notes : list of str
        Changes of rate and channels.
    """

    def __init__(self, container: OutputContainer, audio: AudioSource) -> None:
        self.notes: list[str] = []
        self._container = container
        rate_hz = audio.rate_hz
        if rate_hz not in _RATES_HZ:
            higher = [r for r in _RATES_HZ if r > audio.rate_hz]
            rate_hz = min(higher, default=96000)
            self.notes.append(f"sound resampled from {audio.rate_hz} to {rate_hz} Hz for AAC")
        channels = audio.channels
        if channels not in _LAYOUTS:
            self.notes.append(f"sound mixed from {channels} channels to 2 for AAC")
            channels = 2
        stream = container.add_stream("aac", rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = _LAYOUTS[channels]
        # 96 kbit/s for each channel at 48 kHz, where FFmpeg's AAC is clear for speech and music.
        stream.bit_rate = max(32_000, int(96_000 * channels * min(1.0, rate_hz / 48_000)))
        self._stream: av.AudioStream | None = stream
        self._resampler = av.AudioResampler("fltp", stream.layout, rate_hz)
        self._blocks = audio.blocks()
        self._in_rate_hz = audio.rate_hz
        self._in_layout = av.AudioLayout(_LAYOUTS.get(audio.channels) or f"{audio.channels}c")
        self._samples_read = 0

    def write_for(self, frame_s: float) -> None:
        """Encode what a frame shown at `frame_s` needs; infinity: the rest."""
        stream = self._stream
        while stream is not None and self._samples_read < (frame_s + _AHEAD_S) * self._in_rate_hz:
            block = next(self._blocks, None)
            if block is None:
                for resampled in self._resampler.resample(None):
                    self._container.mux(stream.encode(resampled))
                self._container.mux(stream.encode(None))
                stream = self._stream = None
                return
            frame = audio_frame(np.clip(block, -1, 1), self._in_rate_hz, self._in_layout)
            frame.time_base = Fraction(1, self._in_rate_hz)
            frame.pts = self._samples_read
            self._samples_read += len(block)
            for resampled in self._resampler.resample(frame):
                self._container.mux(stream.encode(resampled))
