"""The invisible mark written on a GPU: the same arithmetic as `heygem.provenance.watermark.embed`, in PyTorch.

A reader sees no difference. Some pixels differ from the other path's by one grey level, where the
two libraries round the strength's last digit differently.
"""

import numpy as np
import torch
import torch.nn.functional as F

from heygem.provenance.watermark.embed import Watermark, turned


class TorchWatermark(Watermark):
    """Writes one id into the frames of one clip, on a device.

    Parameters
    ----------
    secret, mark_id, width, height, strength
        As for `Mark`.
    device : str or torch.device
    """

    def __init__(self, secret, mark_id, width, height, *, device, strength=None):
        super().__init__(secret, mark_id, width, height, strength=strength)
        self._device = torch.device(device)
        self._tensor = torch.from_numpy(self._pattern).to(self._device)
        # OpenCV's weights for grey: ITU-R BT.601, in 14 bits.
        grey = torch.tensor([4899, 9617, 1868], dtype=torch.float32) / (1 << 14)
        self._grey = grey.view(1, 3, 1, 1).to(self._device)

    @torch.inference_mode()
    def embed(self, image, time_s):
        """As `Mark.embed`: `uint8 [H, W, 3]` in and out, on the host."""
        frame = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        size = frame.shape[:2]
        level = F.interpolate(self._weights(frame), size, mode="bilinear", align_corners=False)
        step = level[0, 0] * self._tensor
        step = torch.round(-step if turned(time_s) else step).to(torch.int16)
        return (
            (frame.to(torch.int16) + step[..., None]).clamp_(0, 255).to(torch.uint8).cpu().numpy()
        )

    def _weights(self, frame):
        """Strength per place, at a quarter of the size: float32 [1, 1, h, w], grey levels."""
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


def _blur(picture, side):
    """A box of `side` pixels; at the rim the picture is reflected, as OpenCV does it."""
    edge = side // 2
    return F.avg_pool2d(F.pad(picture, (edge,) * 4, mode="reflect"), side, stride=1)
