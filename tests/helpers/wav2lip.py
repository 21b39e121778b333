"""A Wav2Lip checkpoint without training: the published network with random weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from heygem.rendering.wav2lip import Wav2Lip


def write_random_checkpoint(folder: Path) -> Path:
    """Write `wav2lip.safetensors` into a folder."""
    torch.manual_seed(0)
    path = folder / "wav2lip.safetensors"
    save_file({name: value.clone() for name, value in Wav2Lip().state_dict().items()}, path)
    return path
