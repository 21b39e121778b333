"""Speech encoders: features of a pretrained speech model as an optional input of the lips model.

Encoders trained on tens of thousands of hours (wav2vec 2.0, Baevski et al. 2020; HuBERT, Hsu et al.
2021; WavLM, Chen et al. 2022; Whisper, Radford et al. 2023) represent speech sounds independently
of the speaker. heygem ships none and downloads none: it reads a local folder or the Hugging Face
cache. A lips model that was trained with an encoder stores the encoder's SHA-256.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from heygem.audio.features import HOP, MEL_RMS, RATE_HZ, voiced_rms
from heygem.core import files as core_files
from heygem.core.errors import AssetError, ParameterError
from heygem.core.interpolation import interpolate_at_positions
from heygem.core.types import FloatArray, PathLike

CHUNK_S = 20.0  # encoded at once: attention is quadratic in it, and Whisper takes at most 30 s
CONTEXT_S = 2.0  # encoded before and after a chunk and discarded
MIN_INPUT_S = 1.0  # shorter input is padded with silence
FOLDER_VARIABLE = "HEYGEM_SPEECH_ENCODER"  # environment variable: where the encoder lies now
_OLD_FOLDER_VARIABLE = "HEYGEM_EARS"
_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class EncoderIdentity:
    """Which encoder and which of its layers, as a lips model file stores it.

    Attributes
    ----------
    name_or_path : str
        Folder, or name in the Hugging Face cache, as the user gave it.
    sha256 : str
        Of the weights.
    layer : int
        Hidden layer that is read; 0 is the input of the first one.
    width : int
        Features per frame.
    """

    name_or_path: str
    sha256: str
    layer: int
    width: int


class SpeechEncoder:
    """A pretrained speech encoder, read from disk.

    Parameters
    ----------
    name_or_path : str or path
        Folder of a model as `transformers` writes it, or the name of one in the Hugging Face cache.
    layer : int, optional
        Default: three quarters of the depth, where HuBERT and wav2vec 2.0 carry the most phonetic
        information (Pasad, Chou and Livescu 2021).
    device : str

    Raises
    ------
    AssetError
        The model is missing or unreadable, or `transformers` is not installed.
    ParameterError
        Unsupported architecture, or no such layer.
    """

    def __init__(
        self, name_or_path: PathLike, *, layer: int | None = None, device: str = "cpu"
    ) -> None:
        transformers = _import_transformers()
        self.name_or_path = str(name_or_path)
        self._folder = _find_folder(self.name_or_path)
        try:
            config = transformers.AutoConfig.from_pretrained(self._folder, local_files_only=True)
            self._extractor = transformers.AutoFeatureExtractor.from_pretrained(
                self._folder, local_files_only=True
            )
            self._whisper = config.model_type == "whisper"
            if not self._whisper and not hasattr(config, "conv_stride"):
                raise ParameterError(
                    f"{name_or_path} is not a supported speech encoder",
                    seen=config.model_type,
                    remedy="use a wav2vec 2.0, HuBERT, WavLM or Whisper model",
                )
            model = transformers.AutoModel.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise AssetError(
                f"cannot read the speech encoder in {name_or_path}",
                seen=" ".join(str(error).split())[:200],
                remedy="give a folder with config.json, preprocessor_config.json and the weights",
            ) from error
        encoder = model.encoder if self._whisper else model
        self._encoder = encoder.to(device).float().eval()
        depth = config.encoder_layers if self._whisper else config.num_hidden_layers
        self.layer: int = round(depth * 0.75) if layer is None else layer
        if not 0 <= self.layer <= depth:
            raise ParameterError(
                "the speech encoder has no such layer",
                seen=self.layer,
                remedy=f"use 0 to {depth}",
            )
        self.width: int = config.d_model if self._whisper else config.hidden_size
        self.device = device
        # Samples between frames, and the sample on which the first frame is centred.
        self._stride, self._first_centre = 2 * HOP, 0.0
        if not self._whisper:
            self._stride, receptive_field = 1, 1
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                receptive_field += (kernel - 1) * self._stride
                self._stride *= stride
            self._first_centre = (receptive_field - 1) / 2

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Which encoder and layer this is; hashes the weights on first use."""
        return EncoderIdentity(
            self.name_or_path, _weights_sha256(self._folder), self.layer, self.width
        )

    def encode(self, samples: FloatArray, *, rows: int) -> FloatArray:
        """Features at 100 Hz.

        Parameters
        ----------
        samples : float32 [n], 16 kHz mono, -1..1
        rows : int
            Frames to return.

        Returns
        -------
        float32 [rows, width]
            Row i is at i / 100 seconds, interpolated between the encoder's own frames, which are
            20 ms apart. Each of those has mean 0 and variance 1 over the features.
        """
        samples = np.asarray(samples, np.float32)
        rms = voiced_rms(samples)
        samples = samples * np.float32(MEL_RMS / rms if rms else 1.0)
        out = np.empty((rows, self.width), np.float32)
        chunk, context = (round(s * RATE_HZ) for s in (CHUNK_S, CONTEXT_S))
        for first in range(0, rows, chunk // HOP):
            last = min(first + chunk // HOP, rows)
            begin = max(0, first * HOP - context)
            piece = samples[begin : last * HOP + context]
            missing = max(round(MIN_INPUT_S * RATE_HZ), last * HOP - begin) - len(piece)
            hidden = self._hidden(np.pad(piece, (0, max(0, missing))))
            # Places of the rows in units of the encoder's frames.
            position = (np.arange(first, last) * HOP - begin - self._first_centre) / self._stride
            position = position.clip(0, len(hidden) - 1.001)
            out[first:last] = interpolate_at_positions(hidden, position)
        return out

    @cached_property
    def silence(self) -> FloatArray:
        """Features of digital silence : float32 [width]."""
        return self.encode(np.zeros(4 * RATE_HZ, np.float32), rows=400)[200]

    @torch.inference_mode()
    def _hidden(self, samples: FloatArray) -> FloatArray:
        """Normalised hidden states of the chosen layer : float32 [frames, width]."""
        inputs = self._extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        name = "input_features" if self._whisper else "input_values"
        outputs = self._encoder(inputs[name].to(self.device), output_hidden_states=True)
        hidden = outputs.hidden_states[self.layer][0]
        return torch.nn.functional.layer_norm(hidden, hidden.shape[-1:]).float().cpu().numpy()


def encoder_from_metadata(
    metadata: Mapping[str, str | int], model_path: PathLike, *, device: str = "cpu"
) -> SpeechEncoder:
    """Load the encoder that a lips model was trained with.

    Parameters
    ----------
    metadata : dict
        `encoder_metadata` from the model file; `place` is the former key of `name_or_path`.
    model_path : path
        The lips model file, for messages.
    device : str

    Raises
    ------
    AssetError
        The encoder is missing, or its weights differ from those of training.
    """
    fields = dict(metadata)
    if "place" in fields:
        fields["name_or_path"] = fields.pop("place")
    expected = EncoderIdentity(
        str(fields["name_or_path"]),
        str(fields["sha256"]),
        int(fields["layer"]),
        int(fields["width"]),
    )
    remedy = f"get {expected.name_or_path} and set the variable {FOLDER_VARIABLE} to its folder"
    moved_to = os.environ.get(FOLDER_VARIABLE) or os.environ.get(_OLD_FOLDER_VARIABLE)
    try:
        encoder = SpeechEncoder(
            moved_to or expected.name_or_path, layer=expected.layer, device=device
        )
    except (AssetError, ParameterError) as error:
        raise AssetError(
            f"{model_path} was trained with a speech encoder that is not here",
            seen=error.what,
            remedy=remedy,
        ) from error
    if encoder.identity.sha256 != expected.sha256:
        raise AssetError(
            f"{model_path} was trained with another speech encoder than {encoder.name_or_path}",
            seen=f"sha256 {encoder.identity.sha256[:16]}, expected {expected.sha256[:16]}",
            remedy=remedy,
        )
    return encoder


def encoder_metadata(encoder: SpeechEncoder) -> dict[str, str | int]:
    """What a lips model file stores of its encoder; the inverse of `encoder_from_metadata`."""
    return asdict(encoder.identity)


def _import_transformers() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise AssetError(
            "speech encoders need the transformers package",
            seen="not installed",
            remedy="pip install 'heygem[speech-encoder]'",
        ) from error
    transformers.utils.logging.disable_progress_bar()  # heygem shows its own
    return transformers


def _find_folder(name_or_path: str) -> Path:
    """The model's folder, given directly or looked up in the cache; downloads nothing."""
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name_or_path, local_files_only=True))
    except (OSError, ValueError, HFValidationError) as error:
        raise AssetError(
            f"no speech encoder at {name_or_path}",
            seen="neither a folder nor in the Hugging Face cache",
            remedy="give the folder of a wav2vec 2.0, HuBERT, WavLM or Whisper model",
        ) from error


def _weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights; of several files, of their hashes one to a line."""
    for pattern in _WEIGHT_PATTERNS:
        paths = sorted(folder.glob(pattern))
        if len(paths) == 1:
            return core_files.sha256(paths[0])
        if paths:
            hashes = "\n".join(core_files.sha256(path) for path in paths)
            return hashlib.sha256(hashes.encode()).hexdigest()
    raise AssetError(
        f"no weights in {folder}", remedy=f"they are called {' or '.join(_WEIGHT_PATTERNS)}"
    )
