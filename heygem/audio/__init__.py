"""Sound: loading, voice activity, spectra, quality, and speech from text."""

from heygem.audio.features import BANDS, FRAME_HZ, RATE_HZ, log_mel, voiced_rms
from heygem.audio.quality import check
from heygem.audio.speech import Speech, load, to_mono_16k
from heygem.audio.vad import voice_activity, voice_at

__all__ = [
    "BANDS",
    "FRAME_HZ",
    "RATE_HZ",
    "Speech",
    "check",
    "load",
    "log_mel",
    "to_mono_16k",
    "voice_activity",
    "voice_at",
    "voiced_rms",
]
