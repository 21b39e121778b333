"""The published Wav2Lip generator, by its layer names and shapes.

Each unit is one convolution, batch norm, the input added where residual, then ReLU. The decoder
starts from the embedding of the sound and concatenates the outputs of the face encoder's blocks,
last first (skip connections).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

CROP_PX = 96

# The units in the published order: (in, out, kernel, stride, padding, residual); a sixth
# entry of "up" marks a transposed convolution. Every unit has a batch norm.
_SAME = (3, 1, 1)
_DOWN = (3, 2, 1)


def _residuals(channels: int, count: int) -> list[tuple[Any, ...]]:
    return [(channels, channels, *_SAME, "residual")] * count


_FACE_ENCODER = [
    [(6, 16, 7, 1, 3, "")],
    [(16, 32, *_DOWN, ""), *_residuals(32, 2)],
    [(32, 64, *_DOWN, ""), *_residuals(64, 3)],
    [(64, 128, *_DOWN, ""), *_residuals(128, 2)],
    [(128, 256, *_DOWN, ""), *_residuals(256, 2)],
    [(256, 512, *_DOWN, ""), *_residuals(512, 1)],
    [(512, 512, 3, 1, 0, ""), (512, 512, 1, 1, 0, "")],
]
_AUDIO_ENCODER = [
    (1, 32, *_SAME, ""),
    *_residuals(32, 2),
    (32, 64, 3, (3, 1), 1, ""),
    *_residuals(64, 2),
    (64, 128, 3, 3, 1, ""),
    *_residuals(128, 2),
    (128, 256, 3, (3, 2), 1, ""),
    *_residuals(256, 1),
    (256, 512, 3, 1, 0, ""),
    (512, 512, 1, 1, 0, ""),
]
_FACE_DECODER = [
    [(512, 512, 1, 1, 0, "")],
    [(1024, 512, 3, 1, 0, "up"), *_residuals(512, 1)],
    [(1024, 512, *_DOWN, "up"), *_residuals(512, 2)],
    [(768, 384, *_DOWN, "up"), *_residuals(384, 2)],
    [(512, 256, *_DOWN, "up"), *_residuals(256, 2)],
    [(320, 128, *_DOWN, "up"), *_residuals(128, 2)],
    [(160, 64, *_DOWN, "up"), *_residuals(64, 2)],
]


class _Unit(nn.Module):
    """Convolution, batch norm, plus the input where residual, then ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int | tuple[int, int],
        padding: int,
        kind: str,
    ) -> None:
        super().__init__()
        conv: nn.Module
        if kind == "up":
            grow = 1 if stride == 2 else 0
            conv = nn.ConvTranspose2d(in_channels, out_channels, kernel, stride, padding, grow)
        else:
            conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
        self.residual = kind == "residual"

    def forward(self, x: Tensor) -> Tensor:
        """float32 [B, C, H, W] to the unit's output of the published shape."""
        y = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)


class Wav2Lip(nn.Module):
    """The published generator: 36.3 M parameters, 352 entries in its state dict."""

    def __init__(self) -> None:
        super().__init__()

        def chain(units: Sequence[tuple[Any, ...]]) -> nn.Sequential:
            return nn.Sequential(*(_Unit(*unit) for unit in units))

        self.face_encoder_blocks = nn.ModuleList(chain(units) for units in _FACE_ENCODER)
        self.audio_encoder = chain(_AUDIO_ENCODER)
        self.face_decoder_blocks = nn.ModuleList(chain(units) for units in _FACE_DECODER)
        self.output_block = nn.Sequential(_Unit(80, 32, *_SAME, ""), nn.Conv2d(32, 3, 1))

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Generate mouths for windows of sound.

        Parameters
        ----------
        mel : float32 [B, 1, 80, 16], -4..4
        faces : float32 [B, 6, 96, 96], BGR, 0..1
            The crop with rows 48..95 zeroed, then the reference crop.

        Returns
        -------
        float32 [B, 3, 96, 96], BGR, 0..1
        """
        skips = []
        for block in self.face_encoder_blocks:
            faces = block(faces)
            skips.append(faces)
        x = self.audio_encoder(mel)  # [B, 512, 1, 1]
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return torch.sigmoid(self.output_block(x))

    def fuse(self) -> "Wav2Lip":
        """Fold every batch norm into its convolution: the same numbers, fewer passes."""
        for unit in self.modules():
            if isinstance(unit, _Unit) and isinstance(unit.conv_block[1], nn.BatchNorm2d):
                conv: Any = unit.conv_block[0]
                norm: Any = unit.conv_block[1]
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                out_axis = 1 if isinstance(conv, nn.ConvTranspose2d) else 0
                shape = [1] * 4
                shape[out_axis] = -1
                with torch.no_grad():
                    conv.weight.mul_(scale.view(shape))
                    conv.bias.copy_((conv.bias - norm.running_mean) * scale + norm.bias)
                unit.conv_block[1] = nn.Identity()
        return self
