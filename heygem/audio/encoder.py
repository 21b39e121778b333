"""Better ears: a speech encoder that the user has, beside what the kit hears by itself.

Encoders that learnt from tens of thousands of hours (wav2vec 2.0, Baevski et al. 2020; HuBERT, Hsu
et al. 2021; WavLM, Chen et al. 2022; Whisper's, Radford et al. 2023) tell sounds apart whoever
speaks. None comes with the kit and none is ever fetched: a folder, or what lies in the hub's cache,
is read, and a lips model that was trained with ears remembers which ones by their sha256.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from heygem.audio.features import HOP, MEL_RMS, RATE_HZ, voiced_rms
from heygem.core import files as core_files
from heygem.core.errors import AssetError, ParameterError

PIECE_S = 20.0  # heard at once: attention costs the square of it, and Whisper hears 30 s at most
CONTEXT_S = 2.0  # heard before and after a piece, and not used
SHORTEST_S = 1.0  # shorter sound is lengthened with silence
PLACE = "HEYGEM_EARS"  # where a model's ears are, if they have moved
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Identity:
    """Which ears: what a model file keeps of them.

    Attributes
    ----------
    place : str
        Folder, or name in the hub's cache, as it was given.
    sha256 : str
        Of the weights.
    layer : int
        Hidden layer that is read; 0 is what enters the first one.
    width : int
        Numbers for each instant.
    """

    place: str
    sha256: str
    layer: int
    width: int


class Ears:
    """A speech encoder, read from disk.

    Parameters
    ----------
    place : str or path
        Folder of a model as `transformers` writes it, or a name that lies in the hub's cache.
    layer : int, optional
        Default: three quarters up, where HuBERT and wav2vec 2.0 know most about phones (Pasad,
        Chou and Livescu 2021).
    device : str

    Raises
    ------
    AssetError
        Nothing there, not readable, or `transformers` is not installed.
    ParameterError
        A kind of model, or a layer, that cannot be used.
    """

    def __init__(self, place, *, layer=None, device="cpu"):
        transformers = _transformers()
        self._folder = _folder(str(place))
        try:
            config = transformers.AutoConfig.from_pretrained(self._folder, local_files_only=True)
            self._prepare = transformers.AutoFeatureExtractor.from_pretrained(
                self._folder, local_files_only=True
            )
            self._whisper = config.model_type == "whisper"
            if not self._whisper and not hasattr(config, "conv_stride"):
                raise ParameterError(
                    f"{place} is no ears that can be used",
                    seen=config.model_type,
                    remedy="use a wav2vec 2.0, HuBERT, WavLM or Whisper model",
                )
            model = transformers.AutoModel.from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise AssetError(
                f"cannot read the ears in {place}",
                seen=" ".join(str(error).split())[:200],
                remedy="give a folder with config.json, preprocessor_config.json and the weights",
            ) from error
        encoder = model.encoder if self._whisper else model
        self._encoder = encoder.to(device).float().eval()
        depth = config.encoder_layers if self._whisper else config.num_hidden_layers
        self.layer = round(depth * 0.75) if layer is None else layer
        if not 0 <= self.layer <= depth:
            raise ParameterError(
                "the ears have no such layer", seen=self.layer, remedy=f"use 0 to {depth}"
            )
        self.width = config.d_model if self._whisper else config.hidden_size
        self.place = str(place)
        self.device = device
        # Samples from one instant to the next, and where the first one's middle is.
        self._step, self._first = 2 * HOP, 0.0
        if not self._whisper:
            self._step, reach = 1, 1
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                reach += (kernel - 1) * self._step
                self._step *= stride
            self._first = (reach - 1) / 2

    @cached_property
    def identity(self):
        """Which ears these are : Identity."""
        return Identity(self.place, _weights_sha256(self._folder), self.layer, self.width)

    def hear(self, samples, *, rows):
        """What is heard, at 100 Hz.

        Parameters
        ----------
        samples : float32 [n], 16 kHz mono, -1..1
        rows : int
            Instants wanted.

        Returns
        -------
        float32 [rows, width]
            Instant i is that of i / 100 seconds, between the encoder's own, which are 20 ms apart.
            Mean 0 and variance 1 over each instant.
        """
        samples = np.asarray(samples, np.float32)
        rms = voiced_rms(samples)
        samples = samples * np.float32(MEL_RMS / rms if rms else 1.0)
        out = np.empty((rows, self.width), np.float32)
        piece, context = (round(s * RATE_HZ) for s in (PIECE_S, CONTEXT_S))
        for first in range(0, rows, piece // HOP):
            last = min(first + piece // HOP, rows)
            begin = max(0, first * HOP - context)
            sound = samples[begin : last * HOP + context]
            missing = max(round(SHORTEST_S * RATE_HZ), last * HOP - begin) - len(sound)
            heard = self._encode(np.pad(sound, (0, max(0, missing))))
            at = (np.arange(first, last) * HOP - begin - self._first) / self._step
            at = at.clip(0, len(heard) - 1.001)
            low = at.astype(int)
            part = (at - low).astype(np.float32)[:, None]
            out[first:last] = heard[low] * (1 - part) + heard[low + 1] * part
        return out

    @cached_property
    def silence(self):
        """What is heard in digital silence : float32 [width]."""
        return self.hear(np.zeros(4 * RATE_HZ, np.float32), rows=400)[200]

    @torch.inference_mode()
    def _encode(self, sound):
        given = self._prepare(sound, sampling_rate=RATE_HZ, return_tensors="pt")
        name = "input_features" if self._whisper else "input_values"
        said = self._encoder(given[name].to(self.device), output_hidden_states=True)
        hidden = said.hidden_states[self.layer][0]
        return torch.nn.functional.layer_norm(hidden, hidden.shape[-1:]).float().cpu().numpy()


def of_model(kept, path, *, device="cpu"):
    """The ears that a lips model was trained with.

    Parameters
    ----------
    kept : dict
        `Identity` as the model file keeps it.
    path : path
        The model file, for words.
    device : str

    Returns
    -------
    Ears

    Raises
    ------
    AssetError
        They are not here, or are not the same.
    """
    wanted = Identity(**kept)
    remedy = f"get {wanted.place} yourself and name its folder in the variable {PLACE}"
    try:
        found = Ears(os.environ.get(PLACE) or wanted.place, layer=wanted.layer, device=device)
    except (AssetError, ParameterError) as error:
        raise AssetError(
            f"{path} was trained with ears that are not here", seen=error.what, remedy=remedy
        ) from error
    if found.identity.sha256 != wanted.sha256:
        raise AssetError(
            f"{path} was trained with other ears than those in {found.place}",
            seen=f"sha256 {found.identity.sha256[:16]}, {wanted.sha256[:16]} wanted",
            remedy=remedy,
        )
    return found


def record(ears):
    """What a model file keeps of its ears : dict."""
    return asdict(ears.identity)


def _transformers():
    try:
        import transformers
    except ImportError as error:
        raise AssetError(
            "better ears need the transformers package",
            seen="not installed",
            remedy="pip install 'heygem[ears]'",
        ) from error
    transformers.utils.logging.disable_progress_bar()  # the kit shows its own
    return transformers


def _folder(place):
    """A folder as it is, or the one in the hub's cache; nothing is fetched."""
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(place, local_files_only=True))
    except (OSError, ValueError, HFValidationError) as error:
        raise AssetError(
            f"no ears at {place}",
            seen="neither a folder nor in the hub's cache",
            remedy="give the folder of a wav2vec 2.0, HuBERT, WavLM or Whisper model",
        ) from error


def _weights_sha256(folder):
    for pattern in _WEIGHTS:
        files = sorted(folder.glob(pattern))
        if files:
            joined = "\n".join(core_files.sha256(f) for f in files)
            whole = hashlib.sha256(joined.encode()).hexdigest()
            return core_files.sha256(files[0]) if len(files) == 1 else whole
    raise AssetError(f"no weights in {folder}", remedy=f"they are called {' or '.join(_WEIGHTS)}")
