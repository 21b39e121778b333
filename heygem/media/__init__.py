"""Media input and output with PyAV: probe, exact-time video reader and writer, audio.

Times are seconds after the first shown frame; images are ``uint8 [H, W, 3]`` RGB; audio is
``float32 [n, channels]``.
"""

from heygem.media.audio_io import AudioFile, AudioSource, AudioTrack, read_audio, write_wav
from heygem.media.container import BUNDLE_SUFFIX, is_avatar_bundle
from heygem.media.disclosure import FrameLabel, RecordedFrames
from heygem.media.probe import AudioInfo, MediaInfo, VideoInfo, probe
from heygem.media.reader import Frame, VideoReader
from heygem.media.writer import VideoWriter, container_format

__all__ = [
    "BUNDLE_SUFFIX",
    "AudioFile",
    "AudioInfo",
    "AudioSource",
    "AudioTrack",
    "Frame",
    "FrameLabel",
    "MediaInfo",
    "RecordedFrames",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "container_format",
    "is_avatar_bundle",
    "probe",
    "read_audio",
    "write_wav",
]
