"""The voice: what the model hears, and what goes into the finished video.

The model hears 16 kHz mono; the video keeps the file's own rate and channels. Both come from one
pass over the file, streamed, so a long recording costs 64 kB a second and no more."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from heygem.audio.denoise import learn
from heygem.audio.features import RATE_HZ
from heygem.audio.loudness import gain_for_db
from heygem.core.errors import InputError
from heygem.media.audio_io import AudioFile, AudioTrack
from heygem.media.probe import shown

SHORTEST_S = 0.2  # below this there is no syllable to speak


@dataclass(frozen=True)
class Speech:
    """A recording, for the model and for the output.

    samples : float32 [n], 16 kHz mono, -1..1, what the model hears
    source : AudioFile or AudioTrack, at its own rate and channels, for the writer
    notes : list of str, what was done to it
    clipped_share : float, 0..1, share of the source's samples in flat tops at full scale
    replaced : int, samples that were not numbers and became 0
    """

    samples: np.ndarray
    source: AudioFile | AudioTrack
    notes: list[str] = field(default_factory=list)
    clipped_share: float = 0.0
    replaced: int = 0

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ


def load(
    path,
    *,
    denoise: bool = False,
    loudness_lufs: float | None = None,
    process_output: bool = True,
) -> Speech:
    """Load the sound of any media file.

    Parameters
    ----------
    path : str or Path
        Sound, or a video with sound (time 0 is then its first shown frame).
    denoise : bool
        Take 12 dB off steady noise (`heygem.audio.denoise`).
    loudness_lufs : float, optional
        Bring the integrated loudness (ITU-R BS.1770-4) to this, e.g. -16; less where the true
        peak would pass -1 dBTP.
    process_output : bool
        Whether the two above also change the sound of the finished video; without it they
        only help the model.

    Returns
    -------
    Speech

    Raises
    ------
    InputError
        A file that cannot be used, holds no sound, or is shorter than 0.2 s.
    """
    path = Path(path)
    plain = AudioFile(path)
    notes: list[str] = []
    process, gain_db = None, 0.0
    if denoise:
        process, note = learn(plain)
        notes.append(note)
    if loudness_lufs is not None:
        gain_db, note = gain_for_db(AudioFile(path, process=process), loudness_lufs)
        notes.append(note)
    meter = _SourceMeter()
    blocks = meter.watch(plain.blocks())
    if process is not None:
        blocks = process(blocks)
    samples = to_mono_16k(blocks, plain.rate_hz, plain.layout)
    if gain_db:
        samples *= np.float32(10 ** (gain_db / 20))
    notes += plain.notes
    if len(samples) < SHORTEST_S * RATE_HZ:
        raise InputError(
            f"{shown(path)} is too short to speak",
            seen=f"{len(samples) / RATE_HZ:.3f} s",
            remedy=f"Give at least {SHORTEST_S} s of sound.",
        )
    changed = process_output and (process is not None or gain_db)
    source = AudioFile(path, gain_db=gain_db, process=process) if changed else plain
    return Speech(samples, source, notes, meter.clipped_share, plain.replaced)


def to_mono_16k(blocks, rate_hz: int, layout: str) -> np.ndarray:
    """Mix and resample float32 [k, channels] blocks to float32 [n], 16 kHz mono."""
    resampler = av.AudioResampler("flt", "mono", RATE_HZ)
    parts = []
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, np.float32).reshape(1, -1), format="flt", layout=layout
        )
        frame.sample_rate = rate_hz
        parts += [f.to_ndarray()[0] for f in resampler.resample(frame)]
    parts += [f.to_ndarray()[0] for f in resampler.resample(None)] if parts else []
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


class _SourceMeter:
    """Counts flat tops at full scale while blocks pass by."""

    def __init__(self):
        self._flat = self._all = 0

    @property
    def clipped_share(self) -> float:
        return self._flat / max(1, self._all)

    def watch(self, blocks):
        for block in blocks:
            full = np.abs(block) >= 0.998
            # Three in a row: one sample at full scale is a peak, a run of them is a cut-off top.
            run = full[2:] & full[1:-1] & full[:-2]
            self._flat += int(run.sum())
            self._all += block.size
            yield block
