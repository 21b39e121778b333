"""What turns the lips model into a person's own: a few thousand numbers, and the file of them."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from heygem.core.errors import AssetError
from heygem.lips.model import LipsModel

FORMAT = "heygem-adapter-1"


@dataclass(frozen=True)
class Change:
    """What differs between the base and the person's own model.

    Attributes
    ----------
    scale : float
        Of the base's own answer.
    weights : float32 [networks, K, width]
        Added to the middle tap of each network's last layer.
    bias : float32 [K]
    spread : float
        Brings the answers' spread to the person's own.
    opening_std : float
        The person's spread of the lip gap in speech, in eye distances.
    """

    scale: float
    weights: np.ndarray
    bias: np.ndarray
    spread: float
    opening_std: float

    def applied(self, base):
        """The person's model : LipsModel; the base is not changed."""
        gain = torch.from_numpy(base.gain)[:, None]
        networks = []
        for network, added in zip(base.networks, self.weights, strict=True):
            network = copy.deepcopy(network)
            head = network.head
            with torch.no_grad():
                head.weight *= self.scale
                head.bias *= self.scale
                middle = head.weight.shape[-1] // 2
                # The model's answer is the networks' mean times the gain.
                own = torch.from_numpy(added) / gain * len(base.networks)
                head.weight[..., middle] += own.to(head.weight)
                head.bias += torch.from_numpy(self.bias / base.gain).to(head.bias)
            networks.append(network)
        about = base.about | {"opening_std": self.opening_std, "finetuned": True}
        spread = base.gain * np.float32(self.spread)
        return LipsModel(
            networks, base.basis, spread, about, device=base.device, encoder=base.encoder
        )


def save(change, path, *, base_sha256):
    """Write an adapter, whole or not at all.

    Parameters
    ----------
    change : Change
    path : path
    base_sha256 : str
        Of the lips model file it belongs to.
    """
    from safetensors.numpy import save_file

    tensors = {"weights": change.weights, "bias": change.bias}
    numbers = {"scale": change.scale, "spread": change.spread, "opening_std": change.opening_std}
    part = Path(path).with_suffix(".part")
    save_file(
        {key: np.ascontiguousarray(value, np.float32) for key, value in tensors.items()},
        part,
        metadata={"format": FORMAT, "base_sha256": base_sha256, "numbers": json.dumps(numbers)},
    )
    part.replace(path)


def load(path, base, *, base_sha256):
    """The person's own model out of an adapter file : LipsModel.

    Raises
    ------
    AssetError
        The file is missing or damaged, or belongs to another base.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as f:
            meta = f.metadata() or {}
            weights, bias = f.get_tensor("weights"), f.get_tensor("bias")
        numbers = json.loads(meta.get("numbers", "null"))
        if meta.get("format") != FORMAT or not isinstance(numbers, dict):
            raise ValueError(f"format {meta.get('format')!r}")
    except (OSError, SafetensorError, ValueError) as error:
        raise AssetError(
            f"cannot read the adapter {path}",
            seen=error,
            remedy="make the avatar again with `heygem finetune`",
        ) from error
    if meta["base_sha256"] != base_sha256:
        raise AssetError(
            f"{Path(path).parent.name} was made for another lips model",
            seen=f"{meta['base_sha256'][:12]}, this is {base_sha256[:12]}",
            remedy="make it again with `heygem finetune`, or set lips.model to the one it was "
            "made with",
        )
    return Change(weights=weights, bias=bias, **numbers).applied(base)
