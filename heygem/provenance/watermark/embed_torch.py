"""Embedding of the watermark on a GPU: the arithmetic of `embed`, in PyTorch.

The detector reads both alike. Some pixels differ by one grey level, where OpenCV and PyTorch round
the strength's last digit differently.
"""

import numpy as np
import torch
import torch.nn.functional as F

from heygem.core.types import Image
from heygem.provenance.watermark.embed import WatermarkEmbedder, is_inverted


class TorchWatermarkEmbedder(WatermarkEmbedder):
    """Embeds one id into the frames of one clip, on a device.

    Parameters
    ----------
    secret, watermark_id, width, height, strength
        As for `WatermarkEmbedder`.
    device
    """

    def __init__(
        self,
        secret: bytes,
        watermark_id: int,
        width: int,
        height: int,
        *,
        device: str | torch.device,
        strength: float | None = None,
    ) -> None:
        super().__init__(secret, watermark_id, width, height, strength=strength)
        self._device = torch.device(device)
        self._tensor = torch.from_numpy(self._pattern).to(self._device)
        # OpenCV's weights of the channels: ITU-R BT.601, in 14 bits.
        grey = torch.tensor([4899, 9617, 1868], dtype=torch.float32) / (1 << 14)
        self._grey = grey.view(1, 3, 1, 1).to(self._device)

    @torch.inference_mode()
    def embed(self, image: Image, time_s: float) -> Image:
        """As `WatermarkEmbedder.embed`: uint8 [H, W, 3] in and out, on the host."""
        frame = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        size = frame.shape[:2]
        level = F.interpolate(self._weights(frame), size, mode="bilinear", align_corners=False)
        step = level[0, 0] * self._tensor
        step = torch.round(-step if is_inverted(time_s) else step).to(torch.int16)
        return (
            (frame.to(torch.int16) + step[..., None]).clamp_(0, 255).to(torch.uint8).cpu().numpy()
        )

    def _weights(self, frame: torch.Tensor) -> torch.Tensor:
        """Local strength in grey levels, at a quarter of the size: float32 [1, 1, h, w]."""
        picture = frame.permute(2, 0, 1)[None].float()  # [1, 3, H, W]
        grey = (picture * self._grey).sum(1, keepdim=True).round_()
        small = self._small[::-1]
        mean = F.interpolate(grey, small, mode="area").round_()
        fine = (grey - _blur(grey, 7).round_()).abs_()
        contrast = F.interpolate(fine, small, mode="area").round_()
        contrast = _blur(contrast + (mean - _blur(mean, 3)).abs_(), 3)
        weight = self._strength * (0.6 + contrast / 5).clamp_(0.6, 2.4)
        rms = weight.square().mean().sqrt()
        return weight * torch.clamp(self._limit / rms, max=1.0)


def _blur(picture: torch.Tensor, side: int) -> torch.Tensor:
    """Box filter of `side` pixels with reflected borders, as in OpenCV."""
    edge = side // 2
    return F.avg_pool2d(F.pad(picture, (edge,) * 4, mode="reflect"), side, stride=1)
