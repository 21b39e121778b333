"""Load a recording: 16 kHz mono for the models, the file's own rate and channels for the video.

Both come from one streamed pass over the file, so memory grows by 64 kB per second of audio only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from heygem.audio.denoise import fit_denoiser
from heygem.audio.features import RATE_HZ
from heygem.audio.loudness import normalization_gain_db
from heygem.core.errors import InputError
from heygem.core.types import FloatArray, PathLike
from heygem.media.audio_filter import filter_blocks
from heygem.media.audio_io import AudioFile, AudioSource
from heygem.media.probe import printable

MIN_DURATION_S = 0.2  # a syllable
_FULL_SCALE = 0.998
Process = Callable[[Iterable[FloatArray]], Iterator[FloatArray]]


@dataclass(frozen=True)
class Speech:
    """A recording, for the models and for the output.

    samples : float32 [n], 16 kHz mono, -1..1, the models' input
    source : AudioFile or AudioTrack, at its own rate and channels, for the writer
    notes : list of str, what processing did to it
    clipped_share : float, 0..1, share of the source's samples in flat tops at full scale
    invalid_samples : int, samples that were no numbers or far beyond full scale and became 0
    lacks_end_mark : bool, whether the file may be cut short
    """

    samples: FloatArray
    source: AudioSource
    notes: list[str] = field(default_factory=list)
    clipped_share: float = 0.0
    invalid_samples: int = 0
    lacks_end_mark: bool = False

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE_HZ


def load(
    path: PathLike,
    *,
    denoise: bool = False,
    loudness_lufs: float | None = None,
    process_output: bool = True,
) -> Speech:
    """Load the audio of any media file.

    Parameters
    ----------
    path : str or Path
        Audio, or a video with audio (time 0 is then its first shown frame).
    denoise : bool
        Reduce steady noise by 12 dB (`heygem.audio.denoise`).
    loudness_lufs : float, optional
        Bring the integrated loudness (ITU-R BS.1770-4) to this, e.g. -16; less where the true
        peak would exceed -1 dBTP.
    process_output : bool
        Whether the two options above also change the audio of the finished video; otherwise only
        the models' input is changed.

    Raises
    ------
    InputError
        The file cannot be used, holds no audio, ends before its declared end, holds samples that
        cannot be sound, or is shorter than 0.2 s.
    """
    path = Path(path)
    unprocessed = AudioFile(path)
    notes: list[str] = []
    process: Process | None = None
    gain_db = 0.0
    if denoise:
        process, note = fit_denoiser(unprocessed)
        notes.append(note)
    if loudness_lufs is not None:
        gain_db, note = normalization_gain_db(AudioFile(path, process=process), loudness_lufs)
        notes.append(note)
    clipping = _ClippingMeter()
    blocks = clipping.watch(unprocessed.blocks())
    if process is not None:
        blocks = process(blocks)
    samples = to_mono_16k(blocks, unprocessed.rate_hz, unprocessed.layout)
    if gain_db:
        samples *= np.float32(10 ** (gain_db / 20))
    # Float files may exceed full scale; the writer and every player clip them.
    samples = np.clip(samples, -1, 1)
    notes += unprocessed.notes
    if len(samples) < MIN_DURATION_S * RATE_HZ:
        raise InputError(
            f"{printable(path)} is too short to contain speech",
            seen=f"{len(samples) / RATE_HZ:.3f} s",
            remedy=f"Give at least {MIN_DURATION_S} s of audio.",
        )
    source = unprocessed
    if process_output and (process is not None or gain_db):
        source = AudioFile(path, gain_db=gain_db, process=process)
    return Speech(
        samples,
        source,
        notes,
        clipping.clipped_share,
        unprocessed.invalid_samples,
        unprocessed.lacks_end_mark,
    )


def to_mono_16k(blocks: Iterable[FloatArray], rate_hz: int, layout: str) -> FloatArray:
    """Mix down and resample; what all channels hold keeps its level.

    Parameters
    ----------
    blocks : iterable of float32 [k, channels]
    rate_hz : int
    layout : str
        FFmpeg's name of the channel layout, such as "stereo".

    Returns
    -------
    float32 [n], 16 kHz mono
    """
    # FFmpeg adds the channels of float sound up: two equal ones by 3 dB, those of 5.1 by 10 dB.
    mix = ("aresample", f"{RATE_HZ}:out_chlayout=mono:rematrix_maxval=1")
    parts = filter_blocks(blocks, rate_hz, layout, [mix], out_rate_hz=RATE_HZ, out_layout="mono")
    samples = [part[:, 0] for part in parts]
    return np.concatenate(samples) if samples else np.zeros(0, np.float32)


class _ClippingMeter:
    """Counts samples in flat tops at full scale in the blocks that it passes on."""

    def __init__(self) -> None:
        self._clipped = self._total = 0

    @property
    def clipped_share(self) -> float:
        return self._clipped / max(1, self._total)

    def watch(self, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        for block in blocks:
            full = np.abs(block) >= _FULL_SCALE
            # Three in a row: one sample at full scale is a peak, a run of them is a cut-off top.
            runs = full[2:] & full[1:-1] & full[:-2]
            self._clipped += int(runs.sum())
            self._total += block.size
            yield block
