"""Audio files made on request: uploads, and text spoken by text-to-speech."""

import hashlib
from pathlib import Path
from typing import Any

from heygem.audio import tts
from heygem.core.errors import InputError
from heygem.core.files import write_bytes
from heygem.core.i18n import Translate
from heygem.core.types import PathLike
from heygem.media import write_wav
from heygem.studio.file_picker import AUDIO_SUFFIXES, MAX_UPLOAD_MB


def save_upload(item: dict[str, Any], folder: PathLike, translate: Translate) -> Path:
    """Write an uploaded audio file to a folder, which its name cannot leave.

    Parameters
    ----------
    item : dict
        name, content: as `ipywidgets.FileUpload` gives them.
    folder : path
    translate : callable

    Raises
    ------
    InputError
        The file is too large, or its suffix is not that of audio.
    """
    content = bytes(item["content"])
    name = Path(str(item["name"])).name
    if len(content) > MAX_UPLOAD_MB * 2**20:
        raise InputError(
            f"{name} is too large to upload",
            seen=f"{len(content) / 2**20:.1f} MB",
            remedy=translate("too_large", limit=MAX_UPLOAD_MB),
        )
    suffix = Path(name).suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        raise InputError(f"{name} is not an audio file", seen=suffix, remedy="upload WAV or MP3")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).stem)[:60]
    # One file for each content: a queued job may still need an earlier one of this name.
    digest = hashlib.sha256(content).hexdigest()[:8]
    return write_bytes(folder / f"upload-{stem or 'sound'}-{digest}{suffix}", content, mode=0o600)


def synthesize_to_file(text: str, language: str, folder: PathLike) -> Path:
    """Speak a text into a WAV file named after the text; returns its path."""
    utterance = tts.synthesize(text, language)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # One file for each text: a queued job may still need the previous one.
    digest = hashlib.sha256(f"{language} {text}".encode()).hexdigest()[:8]
    path = folder / f"spoken-{digest}.wav"
    write_wav(path, utterance.samples, utterance.rate_hz)
    return path
