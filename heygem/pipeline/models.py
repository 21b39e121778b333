"""What stays in memory from one item to the next: models, and what was heard with them."""

import os
from dataclasses import dataclass

import numpy as np

from heygem import audio
from heygem.core.errors import HeygemError
from heygem.core.files import sha256
from heygem.face.backends import make_backend
from heygem.lips.model import SHIPPED, LipsModel
from heygem.lips.trajectory import Trajectory
from heygem.rendering.wav2lip import Wav2LipEngine, imported


@dataclass(frozen=True)
class EncodedAudio:
    """A sound, and the mouth movement it asks for.

    Attributes
    ----------
    speech : heygem.audio.speech.Speech
    voice : float32 [n]
        Voice activity, 0..1 at 100 Hz.
    trajectory : heygem.lips.trajectory.Trajectory
        What the model says, before any knob.
    findings : list of heygem.core.findings.Finding
    """

    speech: audio.Speech
    voice: np.ndarray
    trajectory: Trajectory
    findings: list


class Models:
    """What stays in memory over a batch: the lips model, the face models, the sounds heard.

    Parameters
    ----------
    params : Params
    """

    def __init__(self, params):
        self.device = resolve_device(params.device)
        self.lips = LipsModel.load(params.lips.model, device=self.device)
        self.lips_sha256 = sha256(params.lips.model or SHIPPED)
        self.faces = make_backend(params.face)
        self._heard = {}
        self._own_lips = {}
        self._wav2lip = {}

    def wav2lip(self, checkpoint):
        """The second engine with a checkpoint (path, or None for the imported one), loaded once."""
        if checkpoint not in self._wav2lip:
            path = imported() if checkpoint is None else checkpoint
            self._wav2lip[checkpoint] = Wav2LipEngine(path, self.device)
        return self._wav2lip[checkpoint]

    def lips_of(self, person):
        """A person's own lips model where they were taught one, else the one of all."""
        if person is None or person.bundle is None:
            return self.lips
        key = person.bundle.sha256
        if key not in self._own_lips:
            self._own_lips[key] = person.bundle.lips(self.lips, base_sha256=self.lips_sha256)
        return self._own_lips[key]

    def hear(self, path, settings, person=None):
        """Load a sound and predict the mouth movement of a person, once; returns Heard."""
        lips = self.lips_of(person)
        key = (os.fspath(path), settings, None if lips is self.lips else person.bundle.sha256)
        if key not in self._heard:
            speech = audio.load(
                path, denoise=settings.denoise, loudness_lufs=settings.loudness_lufs
            )
            self._heard[key] = EncodedAudio(
                speech,
                audio.voice_activity(speech.samples),
                lips.predict(speech.samples),
                audio.check(speech),
            )
        return self._heard[key]

    def forget(self, path=None):
        """Let go of one sound that was heard, or of all: they take 64 kB a second."""
        for key in list(self._heard):
            if path is None or key[0] == os.fspath(path):
                del self._heard[key]


def resolve_device(wish):
    """ "auto", "cpu" or "cuda" to a torch device name."""
    import torch

    if wish == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wish == "cuda" and not torch.cuda.is_available():
        raise HeygemError(
            "device: cuda was asked for, and PyTorch sees no GPU",
            seen=f"torch {torch.__version__}",
            remedy="set device: auto, or install a PyTorch build for your GPU",
        )
    return wish
