"""The public Wav2Lip checkpoints as a second engine.

Prajwal et al., "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The
Wild", ACM MM 2020. A user's own ``wav2lip.pth`` or ``wav2lip_gan.pth`` is loaded by the
published layer names and shapes and gives what the original network gives for a crop and a
window of sound. heygem adds its own face track, exact frame times and blending into the frame.
"""

from heygem.rendering.wav2lip.checkpoint import import_checkpoint, imported, load
from heygem.rendering.wav2lip.engine import Wav2LipEngine, Wav2LipRenderer, face_boxes, mouth_mask
from heygem.rendering.wav2lip.mel import mel_spectrogram, mel_windows
from heygem.rendering.wav2lip.network import CROP_PX, Wav2Lip

__all__ = [
    "CROP_PX",
    "Wav2Lip",
    "Wav2LipEngine",
    "Wav2LipRenderer",
    "face_boxes",
    "import_checkpoint",
    "imported",
    "load",
    "mel_spectrogram",
    "mel_windows",
    "mouth_mask",
]
