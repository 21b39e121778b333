"""Adapter: the difference between the base lips model and a person's own, and its file."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem.core.errors import AssetError
from heygem.core.files import replacing
from heygem.core.types import FloatArray, PathLike
from heygem.core.weights import require_finite
from heygem.lips.model import LipsModel

FORMAT = "heygem-adapter-1"
REMEDY = "make the avatar again with `heygem finetune`"


@dataclass(frozen=True)
class Adapter:
    """Difference between the base and the fine-tuned model: some ten thousand numbers.

    Attributes
    ----------
    scale : float
        Of the base model's own prediction.
    weights : float32 [networks, K, width]
        Added to the middle tap of each network's last layer.
    bias : float32 [K]
    spread : float
        Gain that brings the amplitude of the predictions to the person's.
    opening_std : float
        Standard deviation of the person's lip aperture in speech, in IOD.
    """

    scale: float
    weights: FloatArray
    bias: FloatArray
    spread: float
    opening_std: float

    def apply(self, base: LipsModel) -> LipsModel:
        """The fine-tuned model; the base is not changed."""
        networks = []
        for network, weights in zip(base.networks, self.weights, strict=True):
            head = network.weights["head.weight"] * np.float32(self.scale)
            # The model's prediction is the networks' mean times the gain.
            head[..., head.shape[-1] // 2] += weights / base.gain[:, None] * len(base.networks)
            bias = network.weights["head.bias"] * np.float32(self.scale) + self.bias / base.gain
            last_layer = {"head.weight": head, "head.bias": bias}
            networks.append(replace(network, weights={**network.weights, **last_layer}))
        about = base.about | {"opening_std": self.opening_std, "finetuned": True}
        spread = base.gain * np.float32(self.spread)
        return LipsModel(networks, base.basis, spread, about, embedding=base.embedding)


def save(adapter: Adapter, path: PathLike, *, base_sha256: str) -> None:
    """Write an adapter file, atomically.

    Parameters
    ----------
    adapter : Adapter
    path : path
    base_sha256 : str
        Of the lips model file it belongs to.
    """
    from safetensors.numpy import save_file

    tensors = {"weights": adapter.weights, "bias": adapter.bias}
    numbers = {
        "scale": adapter.scale,
        "spread": adapter.spread,
        "opening_std": adapter.opening_std,
    }
    with replacing(path) as staged:
        save_file(
            {key: np.ascontiguousarray(value, np.float32) for key, value in tensors.items()},
            staged,
            metadata={"format": FORMAT, "base_sha256": base_sha256, "numbers": json.dumps(numbers)},
        )


def load(path: PathLike, base: LipsModel, *, base_sha256: str) -> LipsModel:
    """Read an adapter file and apply it to its base.

    Raises
    ------
    AssetError
        The file is missing or damaged, or belongs to another base.
    """
    metadata, weights, bias = _read(path)
    if metadata.get("base_sha256") != base_sha256:
        raise AssetError(
            f"{Path(path).parent.name} was made for another lips model",
            seen=f"{metadata.get('base_sha256', '')[:12]}, this is {base_sha256[:12]}",
            remedy="make it again with `heygem finetune`, or set lips.model to the one it was "
            "made with",
        )
    shape = (len(base.networks), base.networks[0].outputs, base.networks[0].width)
    try:
        if weights.shape != shape or bias.shape != shape[1:2]:
            raise ValueError(f"weights of {weights.shape}, not {shape}")
        numbers = {key: float(v) for key, v in json.loads(metadata["numbers"]).items()}
        adapter = Adapter(weights=weights, bias=bias, **numbers)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AssetError(f"cannot read the adapter {path}", seen=error, remedy=REMEDY) from error
    arrays = {"weights": weights, "bias": bias, "numbers": np.array([*numbers.values()], float)}
    require_finite(arrays, str(path), remedy=REMEDY)
    return adapter.apply(base)


def _read(path: PathLike) -> tuple[dict[str, str], FloatArray, FloatArray]:
    """Metadata, weights and bias of an adapter file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as f:
            metadata = f.metadata() or {}
            weights, bias = f.get_tensor("weights"), f.get_tensor("bias")
        if metadata.get("format") != FORMAT:
            raise ValueError(f"format {metadata.get('format')!r}")
    except (OSError, SafetensorError, ValueError) as error:
        raise AssetError(f"cannot read the adapter {path}", seen=error, remedy=REMEDY) from error
    return metadata, weights, bias
