"""The lips model: speech to mouth movement.

Temporal networks map log-mel spectra, recognised phones and a speech embedding to the displacement
of the lower face from the person's neutral mouth, 50 times a second, as coefficients of a basis of
mesh displacements in the canonical face frame. The model never sees pixels, so nothing of the
source video's own speech can reach the result, and its output can be plotted, edited and compared.

The output is the mean of a few networks trained on different speakers: their errors differ more
than their predictions do.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heygem import audio
from heygem.audio.embedding import EMBEDDING_MODEL
from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import FloatArray, PathLike
from heygem.core.weights import require_finite
from heygem.face.topology import LOWER
from heygem.lips.features import (
    extract_features,
    feature_dim,
    normalize_spectra,
    silent_features,
)
from heygem.lips.network import LipsNetwork
from heygem.lips.trajectory import RATE_HZ, Trajectory

CHUNK_S = 20.0  # predicted at once; longer audio is cut, so memory does not grow with length
CONTEXT_S = 1.0  # on both sides of a chunk; more than the receptive field, so cuts do not show
SHIPPED = Path(__file__).parent / "weights" / "lips.safetensors"
#: Of the version before the speech embedding; avatars that were fine-tuned with it need it.
WITHOUT_EMBEDDING = SHIPPED.with_name("lips-plain.safetensors")
FORMAT = "heygem-lips-3"
READABLE_FORMATS = (FORMAT, "heygem-lips-2")  # 2: spectra are not normalised
DEFAULT_OPENING_STD = 0.03  # IOD
REMEDY = "give a .safetensors file made by `heygem train lips`"


class LipsModel:
    """A trained audio-to-mouth model.

    Parameters
    ----------
    networks : sequence of LipsNetwork
    basis : float32 [K, len(LOWER), 3]
        Displacements, IOD.
    gain : float32 [K]
        Scales the predictions to the spread of real mouths (networks alone under-open).
    about : dict
        Facts stored in the file: sources, speakers, hours, licence, metrics.
    device : str
        "cpu" or a torch device.
    embedding : bool
        Whether its features include the speech embedding.
    """

    def __init__(
        self,
        networks: Sequence[LipsNetwork],
        basis: FloatArray,
        gain: FloatArray,
        about: dict[str, Any],
        *,
        device: str = "cpu",
        embedding: bool = False,
    ) -> None:
        self.networks = [n.to(device).eval() for n in networks]
        self.basis = np.asarray(basis, np.float32)
        self.gain = np.asarray(gain, np.float32)
        self.about = about
        self.device = device
        self.embedding = embedding

    @classmethod
    def load(cls, path: PathLike | None = None, *, device: str = "cpu") -> "LipsModel":
        """Read a model file; default: the one that comes with heygem.

        Raises
        ------
        AssetError
            The file is missing or damaged, was trained with other features than this version
            computes, or its weights are incomplete or not finite.
        """
        path = Path(path) if path is not None else assets.path(SHIPPED.name)
        meta, tensors = _read_file(path)
        require_finite(tensors, path.name, remedy=REMEDY)
        embedding = _uses_embedding(meta, path)
        try:
            networks, about = _networks(meta, tensors), json.loads(meta.get("about", "{}"))
            if networks[0].shape["inputs"] != feature_dim(embedding):
                raise ValueError(f"{networks[0].shape['inputs']} features in 10 ms")
            basis, gain = tensors["basis"].numpy(), tensors["gain"].numpy()
            if gain.shape != basis.shape[:1]:
                raise ValueError(f"a gain of {gain.shape} for a basis of {basis.shape}")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise AssetError(
                f"{path} does not have the layers of a lips model",
                seen=(str(error).splitlines() or [type(error).__name__])[0],
                remedy=REMEDY,
            ) from error
        if basis.shape[1:] != (len(LOWER), 3):
            raise AssetError(
                f"{path} moves other points than this version does",
                seen=f"{basis.shape[1]} points, not {len(LOWER)}",
                remedy="train it again with `heygem train lips`",
            )
        return cls(networks, basis, gain, about, device=device, embedding=embedding)

    @cached_property
    def opening_std(self) -> float:
        """Spread (std) of a typical speaker's lip aperture in speech, IOD."""
        return float(self.about.get("opening_std", DEFAULT_OPENING_STD))

    def predict(self, samples_16k: FloatArray) -> Trajectory:
        """Mouth movement for speech of any length.

        Parameters
        ----------
        samples_16k : float32 [n]
            Mono, 16 kHz, -1..1.

        Returns
        -------
        Trajectory
            One row per 20 ms, `ceil(n / 320)` rows.
        """
        samples = np.asarray(samples_16k, np.float32)
        rows = -(-len(samples) // int(audio.RATE_HZ / RATE_HZ))
        return self.predict_features(extract_features(samples, rows=rows, embedding=self.embedding))

    def predict_features(self, features: FloatArray) -> Trajectory:
        """Mouth movement for `extract_features`, float32 [2 N, inputs] : Trajectory of N rows."""
        rows = len(features) // 2
        coefficients = np.zeros((rows, len(self.basis)), np.float32)
        step, context = int(CHUNK_S * RATE_HZ), int(CONTEXT_S * RATE_HZ)
        padded = self._padded(features, context)
        for start in range(0, rows, step):
            raise_if_cancelled()
            stop = min(start + step, rows)
            predicted = self._network_mean(padded[2 * start : 2 * (stop + 2 * context)])
            coefficients[start:stop] = predicted[context : context + stop - start]
        return Trajectory(coefficients, RATE_HZ, self.basis)

    def _padded(self, features: FloatArray, rows: int) -> Tensor:
        """Features with `rows` of silence at each end, normalised : float32 [2 (N + 2 rows), F].

        Before the first and after the last sound there is silence, not the edge of a tensor.
        """
        silence = torch.from_numpy(silent_features(embedding=self.embedding)).repeat(2 * rows, 1)
        inner = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        padded = torch.cat([silence, inner, silence])
        return normalize_spectra(padded, like=inner) if self.networks[0].normalize else padded

    @torch.inference_mode()
    def _network_mean(self, features: Tensor) -> FloatArray:
        batch = features[None].to(self.device)
        outputs = torch.stack([network.forward_normalized(batch) for network in self.networks])
        return outputs.mean(0)[0].float().cpu().numpy() * self.gain


def _uses_embedding(meta: dict[str, str], path: Path) -> bool:
    """Whether a model file needs the speech embedding; raises AssetError if it needs another."""
    if "speech_encoder" in meta or "ears" in meta:
        raise AssetError(
            f"{path} was trained with a speech encoder of your own, which this version cannot use",
            seen=meta.get("speech_encoder") or meta["ears"],
            remedy="train it again with `heygem train lips`",
        )
    sha256 = meta.get("speech_embedding")
    if sha256 not in (None, assets.pinned()[EMBEDDING_MODEL]):
        raise AssetError(
            f"{path} was trained with another speech embedding than this version has",
            seen=f"sha256 {sha256}",
            remedy="train it again with `heygem train lips`",
        )
    return sha256 is not None


def _networks(meta: dict[str, str], tensors: dict[str, Tensor]) -> list[LipsNetwork]:
    """The networks of a model file, on the CPU."""
    shape = json.loads(meta["network"])
    networks = []
    for i in range(int(meta["networks"])):
        network = LipsNetwork.from_shape(shape)
        prefix = f"network{i}."
        network.load_state_dict(
            {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        )
        networks.append(network)
    return networks


def _read_file(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a lips model file.

    Raises
    ------
    AssetError
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise AssetError(
            f"cannot read the lips model {path}",
            seen=str(error),
            remedy=REMEDY,
        ) from error
    if meta.get("format") not in READABLE_FORMATS:
        raise AssetError(
            f"{path} is not a lips model",
            seen=f"format {meta.get('format')!r}",
            remedy=f"give a file of format {FORMAT!r}, made by `heygem train lips`",
        )
    return meta, tensors
