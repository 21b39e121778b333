"""The voice: what the model hears, and what goes into the finished video.

The model hears 16 kHz mono; the video keeps the file's own rate and channels. Both come from one
pass over the file, streamed, so a long recording costs 64 kB a second and no more.
"""

import contextlib
import functools
import threading
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import scipy.fft

from heygem.denoise import learn
from heygem.errors import InputError
from heygem.findings import Finding
from heygem.loudness import gain_for_db
from heygem.media.info import shown
from heygem.media.sound import AudioFile, AudioTrack

RATE_HZ = 16_000  # what speech models hear
FRAME_HZ = 100  # log-mel and voice activity
N_FFT = 512  # 32 ms
HOP = RATE_HZ // FRAME_HZ  # 10 ms
WINDOW = 400  # 25 ms
BANDS = 80
LOWEST_HZ, HIGHEST_HZ = 55.0, 7600.0
MEL_RMS = 0.05  # level of the voice before the logarithm, -26 dBFS
SHORTEST_S = 0.2  # below this there is no syllable to speak
_GATE_RMS = 10 ** (-70 / 20)  # BS.1770-4's absolute gate: below it is silence, -70 dBFS


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
        Take 12 dB off steady noise (`heygem.denoise`).
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


@functools.cache
def _mel_filters() -> np.ndarray:
    import librosa

    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=N_FFT, n_mels=BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ
    )
    return np.ascontiguousarray(filters.T)  # [N_FFT // 2 + 1, BANDS]


@functools.cache
def _window() -> np.ndarray:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # periodic
    side = (N_FFT - WINDOW) // 2
    return np.pad(hann, (side, side)).astype(np.float32)


def voiced_rms(samples) -> float:
    """RMS of the parts that sound, 0..1; 0 for silence.

    Gated as BS.1770-4 gates loudness (an absolute gate at -70 dBFS, then everything more than
    20 dB under the mean of the rest, repeated until it holds), so silence or room noise around
    the words changes nothing.
    """
    size = RATE_HZ // 50  # 20 ms
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.einsum("ij,ij->i", whole, whole) / size
    power = power[power > _GATE_RMS**2]
    while len(power):
        kept = power[power > power.mean() / 100]
        if len(kept) == len(power):
            return float(np.sqrt(power.mean()))
        power = kept
    return 0.0


def log_mel(samples) -> np.ndarray:
    """Log-mel spectrogram, the lips model's input.

    Hann window of 25 ms in a 32 ms transform every 10 ms, power, 80 Slaney bands from 55 to
    7600 Hz, ``(log(m + 1e-5) + 6) / 3``; the voice is first brought to RMS 0.05 (`voiced_rms`).

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1

    Returns
    -------
    float32 [1 + n // 160, 80]
        Frame i is centred on i / 100 seconds.
    """
    samples = np.asarray(samples, np.float32)
    rms = voiced_rms(samples)
    gain = MEL_RMS / rms if rms else 1.0  # silence stays silence instead of becoming loud noise
    window = _window() * np.float32(gain)
    out = np.empty((1 + len(samples) // HOP, BANDS), np.float32)
    for start in range(0, len(out), 2000):  # 20 s at a time keep the spectra small
        stop = min(start + 2000, len(out))
        first, last = start * HOP - N_FFT // 2, (stop - 1) * HOP + N_FFT // 2
        piece = samples[max(0, first) : last]
        before = max(0, -first)
        piece = np.pad(piece, (before, last - first - before - len(piece)))
        frames = np.lib.stride_tricks.sliding_window_view(piece, N_FFT)[::HOP]  # [t, N_FFT]
        spectrum = scipy.fft.rfft(frames * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2  # [t, N_FFT // 2 + 1]
        out[start:stop] = (np.log(power @ _mel_filters() + 1e-5) + 6) / 3
    return out


_VAD_CHUNK = 512  # samples the model takes at a time, 32 ms
_vad_lock = threading.Lock()


@functools.cache
def _vad_model():
    import torch

    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad  # importing it sets torch to one thread

    torch.set_num_threads(threads)
    return load_silero_vad()


@contextlib.contextmanager
def _one_thread():
    """Hundreds of tiny steps: handing each to several threads costs more than the step."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def voice_activity(samples) -> np.ndarray:
    """Probability that somebody speaks, by Silero VAD (its weights come inside its package).

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1

    Returns
    -------
    float32 [1 + n // 160]
        0..1 at 100 Hz, frame i centred on i / 100 seconds; exactly 0 in digital silence.
    """
    import torch

    samples = np.asarray(samples, np.float32)
    count = 1 + len(samples) // HOP
    loud = _sounding(samples, count)
    if not loud.any():
        return np.zeros(count, np.float32)
    chunks = []
    # The model carries state from chunk to chunk, so one recording at a time.
    with _vad_lock, _one_thread(), torch.inference_mode():
        model = _vad_model()
        model.reset_states()
        for start in range(0, len(samples), _VAD_CHUNK):
            piece = samples[start : start + _VAD_CHUNK]
            piece = np.pad(piece, (0, _VAD_CHUNK - len(piece)))
            chunks.append(model(torch.from_numpy(piece), RATE_HZ).item())
    centres_s = (np.arange(len(chunks)) + 0.5) * _VAD_CHUNK / RATE_HZ
    probability = np.interp(np.arange(count) / FRAME_HZ, centres_s, chunks)
    return np.where(loud, probability, 0).astype(np.float32)


def _sounding(samples, count) -> np.ndarray:
    """bool [count]: whether anything above -100 dBFS lies within 15 ms of each frame."""
    half = HOP // 2
    whole = len(samples) // half * half
    rest = np.pad(samples[whole:], (0, half - len(samples) + whole))
    blocks = (samples[:whole].reshape(-1, half), rest[None])  # [n, half]
    loud = np.concatenate([(b.max(1) > 1e-5) | (b.min(1) < -1e-5) for b in blocks])
    loud = np.pad(loud, (3, 3))
    at = np.arange(count) * 2 + 3  # the half hop that starts at the frame's centre
    return np.any([loud[at + k] for k in range(-3, 3)], axis=0)


def check(speech: Speech) -> list[Finding]:
    """What is bad about a recording before any work is done with it.

    Music and noise are guessed, not recognised: sound that Silero VAD does not take for speech
    is suspected, and so are pauses that are nearly as loud as the words.
    """
    found = []
    samples = speech.samples
    if speech.replaced or not np.isfinite(samples).all():
        count = speech.replaced or int((~np.isfinite(samples)).sum())
        found.append(Finding("warning", "NOT_NUMBERS", {"count": count}))
        samples = np.nan_to_num(samples, posinf=0, neginf=0)
    rms = voiced_rms(samples)
    if rms == 0:
        return [*found, Finding("warning", "SILENT")]
    level_db = 20 * np.log10(rms)
    if level_db < -45:
        found.append(Finding("warning", "LOW_LEVEL", {"level_db": float(level_db)}))
    if speech.clipped_share > 1e-4:
        found.append(Finding("warning", "CLIPPED", {"share": speech.clipped_share}))
    return found + _check_voice(samples, rms)


def _check_voice(samples, rms) -> list[Finding]:
    probability = voice_activity(samples)
    count = len(samples) // HOP
    power = (samples[: count * HOP].reshape(count, HOP) ** 2).mean(1)
    speech, sounding = probability[:count] > 0.5, power > rms**2 / 100
    if not speech.any():
        return [Finding("warning", "NO_SPEECH")]
    other = float((sounding & ~speech).sum() / max(1, sounding.sum()))
    if other > 0.4:
        return [Finding("warning", "NOT_SPEECH", {"share": other})]
    # The quietest twentieth of the recording is what lies under the words.
    under_db = 10 * np.log10(power[speech].mean() / max(np.percentile(power, 5), 1e-12))
    if under_db < 15:
        return [Finding("warning", "NOISY", {"under_db": float(under_db)})]
    return []
