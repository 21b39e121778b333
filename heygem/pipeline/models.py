"""Models that stay in memory from one item to the next, and the sounds encoded with them."""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from heygem import audio
from heygem.audio import ahead, phones
from heygem.avatar.avatar import Avatar
from heygem.config.params import AudioSettings, Params
from heygem.core.files import sha256_of_unchanged
from heygem.core.findings import Finding
from heygem.core.gpu import resolve_device
from heygem.core.memory import limit_arenas
from heygem.core.types import FloatArray, PathLike
from heygem.face.backends import make_backend
from heygem.face.tracking import Backend
from heygem.lips import predictor
from heygem.lips.model import SHIPPED, LipsModel
from heygem.lips.predictor import LipsPredictor
from heygem.lips.trajectory import Trajectory
from heygem.pipeline import preload

if TYPE_CHECKING:
    from heygem.rendering.wav2lip import Wav2LipEngine


@dataclass(frozen=True)
class EncodedAudio:
    """A sound, and the mouth movement that a lips model predicts for it.

    Attributes
    ----------
    speech : heygem.audio.Speech
    voice : float32 [n]
        Where the mouth may move, 0..1 at 100 Hz; see `heygem.audio.mouth_activity`.
    predicted : Trajectory or None
        Before a person's amplitude and any control, see `heygem.pipeline.articulate`; None where
        no prediction was asked for.
    findings : list of Finding
    """

    speech: audio.Speech
    voice: FloatArray
    predicted: Trajectory | None
    findings: list[Finding]


class Models:
    """Lips model, face backend and engines, kept over a batch; public as `heygem.load_models`.

    Parameters
    ----------
    params : Params
        `device`, `lips.model` and `face` say what is loaded.
    lips : LipsPredictor, optional
        A model of one's own in place of the one `params.lips.model` names.
    faces : heygem.face.tracking.Backend, optional
        A face backend in place of the one `params.face.backend` names.
    """

    def __init__(
        self,
        params: Params,
        *,
        lips: LipsPredictor | None = None,
        faces: Backend | None = None,
    ) -> None:
        limit_arenas()
        self.device = resolve_device(params.device)
        self.lips, self.lips_sha256 = _load_lips(params.lips.model, lips)
        self.faces = faces if faces is not None else make_backend(params.face, device=self.device)
        self._encoded: dict[tuple[str, AudioSettings, str | None], EncodedAudio] = {}
        self._finetuned: dict[str, LipsPredictor] = {}
        self._wav2lip: dict[str | None, Wav2LipEngine] = {}

    def wav2lip(self, checkpoint: str | None) -> "Wav2LipEngine":
        """The Wav2Lip engine with a checkpoint (None: the imported one), loaded once."""
        from heygem.rendering.wav2lip import Wav2LipEngine, imported  # loads PyTorch

        if checkpoint not in self._wav2lip:
            path = imported() if checkpoint is None else checkpoint
            self._wav2lip[checkpoint] = Wav2LipEngine(path, self.device)
        return self._wav2lip[checkpoint]

    def lips_of(self, avatar: Avatar | None) -> LipsPredictor:
        """A fine-tuned avatar's own lips model, else the common one."""
        if avatar is None or avatar.bundle is None or not isinstance(self.lips, LipsModel):
            return self.lips
        key = avatar.bundle.sha256
        if key not in self._finetuned:
            self._finetuned[key] = avatar.bundle.lips(self.lips, base_sha256=self.lips_sha256)
        return self._finetuned[key]

    def encode_audio(
        self,
        path: PathLike,
        settings: AudioSettings,
        avatar: Avatar | None = None,
        *,
        predict: bool = True,
    ) -> EncodedAudio:
        """Load a sound and predict an avatar's mouth movement for it; computed once.

        Engines that make the mouth from the sound itself need no prediction: `predict=False`.

        Raises
        ------
        InputError
            The file cannot be read as sound.
        """
        lips = self.lips_of(avatar)
        own = None
        if lips is not self.lips and avatar is not None and avatar.bundle is not None:
            own = avatar.bundle.sha256
        key = (os.fspath(path), settings, own)
        encoded = self._encoded.get(key)
        preload.start(*preload.MODULES)
        if encoded is None:
            speech = ahead.load(path, settings)
            if predict and isinstance(lips, LipsModel):
                phones.start(speech.samples)
            voice = audio.voice_activity(speech.samples)
            mouth = audio.mouth_activity(speech.samples, voice)
            encoded = EncodedAudio(speech, mouth, None, audio.check(speech, voice))
        if predict and encoded.predicted is None:
            encoded = replace(encoded, predicted=lips.predict(encoded.speech.samples))
        self._encoded[key] = encoded
        return encoded

    def forget_audio(self, path: PathLike | None = None) -> None:
        """Free one encoded sound, or all of them: they take 64 kB a second."""
        for key in list(self._encoded):
            if path is None or key[0] == os.fspath(path):
                del self._encoded[key]


load_models = Models


def _load_lips(name: str | None, lips: LipsPredictor | None) -> tuple[LipsPredictor, str]:
    """The lips model and what identifies it: the sha256 of its file, or the name of its class."""
    if lips is not None:
        return lips, f"{type(lips).__module__}.{type(lips).__qualname__}"
    if name is not None and predictor.is_installed_name(name):
        return predictor.load_installed(name), predictor.identity(name)
    return LipsModel.load(name), sha256_of_unchanged(name or SHIPPED)
