"""Speech audio: loading, features, voice activity, quality checks and text to speech.

Further modules, imported by name: `denoise` and `loudness` (used by `load`), `phones` (phone
recogniser), `embedding` (a pretrained description of speech sounds).
"""

from heygem.audio.features import BANDS, FRAME_HZ, RATE_HZ, log_mel, voiced_rms
from heygem.audio.quality import check
from heygem.audio.speech import Speech, load, to_mono_16k
from heygem.audio.tts import Utterance, Voice, synthesize
from heygem.audio.vad import IS_SPEECH, mouth_activity, speech_at, voice_activity, voice_at

__all__ = [
    "BANDS",
    "FRAME_HZ",
    "IS_SPEECH",
    "RATE_HZ",
    "Speech",
    "Utterance",
    "Voice",
    "check",
    "load",
    "log_mel",
    "mouth_activity",
    "speech_at",
    "synthesize",
    "to_mono_16k",
    "voice_activity",
    "voice_at",
    "voiced_rms",
]
