"""The lips networks' forward pass in NumPy: what a job computes, without loading PyTorch.

PyTorch takes two seconds and 200 MB to load; the networks take a hundredth of a second for each
second of sound. `heygem.lips.network` is the same network for training, and a test compares both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from heygem.core.layers import convolve, gelu, layer_norm, taps_of
from heygem.core.types import FloatArray
from heygem.lips.features import FEATURE_DIM

STEPS = 2  # features of 10 ms in a row of motion

#: Parts of names in files of earlier versions, the weights without the embedding among them.
_EARLIER_NAMES = {"read": "stem", "say": "head", "spread": "dilated", "mix": "pointwise"}


def _in_order_of_use(weight: FloatArray) -> FloatArray:
    """The same weight; a convolution's so that `taps_of` is a view, not a copy of 17 MB in all."""
    weight = np.asarray(weight, np.float32)
    return taps_of(weight).transpose(2, 1, 0) if weight.ndim == 3 else weight


@dataclass(frozen=True)
class InferenceNetwork:
    """Features at 100 Hz to mouth coefficients at 50 Hz, with weights that do not change.

    Parameters
    ----------
    weights : dict of str to float32
        By the names of `LipsNetwork.state_dict()`.
    dilations : tuple of int
        One residual block each.
    normalize : bool
        Whether the input is to go through `normalize_spectra` first.
    lookahead : int, optional
        See `LipsNetwork`.
    """

    weights: Mapping[str, FloatArray]
    dilations: tuple[int, ...]
    normalize: bool
    lookahead: int | None = None

    @classmethod
    def from_shape(
        cls, shape: Mapping[str, Any], weights: Mapping[str, FloatArray]
    ) -> "InferenceNetwork":
        """A network as stored in a model file; files of earlier versions included.

        Raises
        ------
        KeyError, TypeError, ValueError
            Weights are missing, or are not of this shape.
        """
        normalize = bool(shape.get("normalize", shape.get("level", False)))
        network = cls(
            {current_name(name): _in_order_of_use(w) for name, w in weights.items()},
            tuple(int(dilation) for dilation in shape["dilations"]),
            normalize,
            None if shape.get("lookahead") is None else int(shape["lookahead"]),
        )
        network.require_shape(int(shape["inputs"]), int(shape["width"]), int(shape["outputs"]))
        return network

    @property
    def inputs(self) -> int:
        """Features every 10 ms."""
        taken = self.weights["stem.0.weight"].shape[1]
        return taken if self.lookahead is None else FEATURE_DIM + taken

    @property
    def width(self) -> int:
        """Channels."""
        return self.weights["head.weight"].shape[1]

    @property
    def outputs(self) -> int:
        """Number of coefficients, K."""
        return self.weights["head.weight"].shape[0]

    @property
    def shape(self) -> dict[str, Any]:
        """As `LipsNetwork.shape`: what a model file states."""
        return {
            "outputs": self.outputs,
            "width": self.width,
            "dilations": list(self.dilations),
            "inputs": self.inputs,
            "normalize": self.normalize,
            "lookahead": self.lookahead,
        }

    def require_shape(self, inputs: int, width: int, outputs: int) -> None:
        """Raise ValueError, or KeyError for a missing one, unless the weights are of this shape."""
        expected: dict[str, tuple[int, ...]] = {
            "stem.0": (width, inputs_taken(inputs, self.lookahead), 5),
            "stem.2": (width, width, 5),
        }
        for i in range(len(self.dilations)):
            expected |= {
                f"blocks.{i}.norm": (width,),
                f"blocks.{i}.dilated": (width, width, 5),
                f"blocks.{i}.pointwise": (width, width, 1),
            }
        expected["head"] = (outputs, width, 3)
        for layer, shape in expected.items():
            for name, right in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1])):
                if self.weights[name].shape != right:
                    raise ValueError(f"{name} of {self.weights[name].shape}, not {right}")

    def __call__(self, features: FloatArray) -> FloatArray:
        """Normalised features, float32 [2 N, inputs], to coefficients, float32 [N, K]."""
        return self.head(self.hidden(features))

    def hidden(self, features: FloatArray) -> FloatArray:
        """Input of the last layer : float32 [N, width]."""
        if self.lookahead is not None:
            ahead = STEPS * self.lookahead
            features = np.pad(features[ahead:, FEATURE_DIM:], ((0, ahead), (0, 0)))
        x = gelu(self._convolve("stem.0", features))
        x = self._convolve("stem.2", x, stride=2)
        for i, dilation in enumerate(self.dilations):
            norm = f"blocks.{i}.norm"
            y = layer_norm(x, self.weights[f"{norm}.weight"], self.weights[f"{norm}.bias"])
            y = gelu(self._convolve(f"blocks.{i}.dilated", y, dilation=dilation))
            x = x + self._convolve(f"blocks.{i}.pointwise", y)
        return x

    def head(self, hidden: FloatArray) -> FloatArray:
        """The last layer : float32 [N, K]."""
        return self._convolve("head", hidden)

    @cached_property
    def _taps(self) -> dict[str, FloatArray]:
        """Weights of the convolutions as matrices : float32 [taps, in, out]."""
        return {
            name.removesuffix(".weight"): taps_of(weight)
            for name, weight in self.weights.items()
            if weight.ndim == 3
        }

    def _convolve(
        self, layer: str, x: FloatArray, *, dilation: int = 1, stride: int = 1
    ) -> FloatArray:
        bias = self.weights[f"{layer}.bias"]
        causal = self.lookahead is not None
        return convolve(x, self._taps[layer], bias, stride=stride, dilation=dilation, causal=causal)


def inputs_taken(inputs: int, lookahead: int | None) -> int:
    """Features that a network takes of those there are: a causal one the embedding alone."""
    return inputs if lookahead is None else inputs - FEATURE_DIM


def current_name(name: str) -> str:
    """The name of a weight in this version."""
    return ".".join(_EARLIER_NAMES.get(part, part) for part in name.split("."))
