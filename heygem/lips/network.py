"""The network from speech features to mouth coefficients, for training.

A temporal convolutional network with dilated residual blocks (Bai et al. 2018): the output at every
instant depends on the same half second around it, whatever the length of the input. A job computes
it without PyTorch; see `heygem.lips.inference`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heygem import audio
from heygem.lips.features import FEATURE_DIM, LOUDNESS_SLOPE, MIN_SPREAD
from heygem.lips.inference import STEPS, InferenceNetwork, current_name, inputs_taken


class _CausalConvolution(nn.Conv1d):
    """A convolution whose last tap belongs to the instant itself, and none to a later one."""

    def __init__(self, *args: Any, padding: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._before = 2 * padding  # all of it on one side

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (self._before, 0)))


class _Block(nn.Module):
    """Residual block: layer norm, dilated convolution, GELU, pointwise convolution."""

    def __init__(
        self, convolution: type[nn.Conv1d], width: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dilated = convolution(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.pointwise = nn.Conv1d(width, width, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # [B, width, T]
        # Normalised over channels within each instant, so that a chunk gives what the whole would.
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.drop(self.pointwise(nn.functional.gelu(self.dilated(y))))


class LipsNetwork(nn.Module):
    """Features at 100 Hz to mouth coefficients at 50 Hz.

    Parameters
    ----------
    outputs : int
        Number of coefficients, K.
    width : int
        Channels.
    dilations : sequence of int
        One residual block each. The receptive field reaches 40 ms times their sum, plus 60 ms, to
        both sides.
    inputs : int
        Features every 10 ms.
    lookahead : int, optional
        Rows of 20 ms after a row that it depends on. Such a network takes the speech embedding
        alone: spectra are normalised, and phones recognised, with the whole sound. None: it looks
        as far ahead as back.
    normalize : bool
        Whether the input goes through `normalize_batch` first.
    dropout : float
    """

    def __init__(
        self,
        *,
        outputs: int,
        width: int,
        dilations: Sequence[int],
        inputs: int = FEATURE_DIM,
        lookahead: int | None = None,
        normalize: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.normalize, self.lookahead = normalize, lookahead
        self._inputs, self._dilations = inputs, list(dilations)
        convolution = nn.Conv1d if lookahead is None else _CausalConvolution
        self.stem = nn.Sequential(
            convolution(inputs_taken(inputs, lookahead), width, 5, padding=2),
            nn.GELU(),
            convolution(width, width, 5, stride=2, padding=2),
        )
        self.blocks = nn.Sequential(*[_Block(convolution, width, d, dropout) for d in dilations])
        self.head = convolution(width, outputs, 3, padding=1)

    @classmethod
    def from_shape(cls, shape: Mapping[str, Any]) -> "LipsNetwork":
        """A network of `shape`, as stored in a model file; files of earlier versions included."""
        normalize = shape.get("normalize", shape.get("level", False))
        rest = {key: value for key, value in shape.items() if key not in ("normalize", "level")}
        return cls(**rest, normalize=normalize)

    @property
    def shape(self) -> dict[str, Any]:
        """Arguments that make a network of the same shape."""
        return {
            "outputs": self.head.out_channels,
            "width": self.head.in_channels,
            "dilations": self._dilations,
            "inputs": self._inputs,
            "normalize": self.normalize,
            "lookahead": self.lookahead,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in `torch.nn.Module`; names of earlier versions are accepted."""
        renamed = {current_name(name): value for name, value in state_dict.items()}
        return super().load_state_dict(renamed, *args, **kwargs)

    def forward(self, features: Tensor) -> Tensor:
        """`float [B, 2 N, inputs]` to `float [B, N, K]`."""
        features = normalize_batch(features) if self.normalize else features
        if self.lookahead is not None:
            features = features[:, STEPS * self.lookahead :, FEATURE_DIM:]
            features = nn.functional.pad(features, (0, 0, 0, STEPS * self.lookahead))
        x = self.stem(features.transpose(1, 2))  # [B, width, N]
        return self.head(self.blocks(x)).transpose(1, 2)

    def for_inference(self) -> InferenceNetwork:
        """A copy with the weights of this moment, that computes in NumPy."""
        weights = {name: w.detach().float().cpu().numpy() for name, w in self.state_dict().items()}
        return InferenceNetwork.from_shape(
            self.shape, {name: w.copy() for name, w in weights.items()}
        )


def normalize_batch(features: Tensor) -> Tensor:
    """`heygem.lips.features.normalize_spectra` of each of a batch : float [B, T, inputs]."""
    source = features[..., : audio.BANDS]
    loudness = source.mean(-1, keepdim=True)
    weight = torch.sigmoid(LOUDNESS_SLOPE * (loudness - loudness.mean(-2, keepdim=True)))
    total = weight.sum(-2, keepdim=True).clamp(min=1e-6)
    mean = (source * weight).sum(-2, keepdim=True) / total
    spread = ((source - mean).square() * weight).sum(-2, keepdim=True).div(total).sqrt()
    return torch.cat([(source - mean) / (spread + MIN_SPREAD), features[..., audio.BANDS :]], -1)
