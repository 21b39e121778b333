"""Media in and out, on PyAV: probe, exact-time video reader and writer, sound.

Times are seconds after the first shown frame; images are ``uint8 [H, W, 3]`` RGB; sound is
``float32 [n, channels]``.
"""

from heygem.media.audio_io import AudioFile, AudioTrack, read_audio, write_wav
from heygem.media.probe import (
    BUNDLE_SUFFIX,
    AudioInfo,
    MediaInfo,
    VideoInfo,
    is_avatar_bundle,
    probe,
)
from heygem.media.reader import Frame, VideoReader
from heygem.media.writer import VideoWriter

__all__ = [
    "BUNDLE_SUFFIX",
    "AudioFile",
    "AudioInfo",
    "AudioTrack",
    "Frame",
    "MediaInfo",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "is_avatar_bundle",
    "probe",
    "read_audio",
    "write_wav",
]
