"""From a tracked person and a sound to mouths for the compositor."""

from functools import lru_cache

import cv2
import numpy as np
import torch

from heygem.rendering.base import Patch
from heygem.rendering.wav2lip.checkpoint import load
from heygem.rendering.wav2lip.mel import mel_spectrogram, mel_windows
from heygem.rendering.wav2lip.network import CROP_PX

CHIN_MARGIN_PX = 10  # the published padding of the face box, at its lower edge
BOX_FRAMES = 5  # boxes are averaged over five frames


def face_boxes(points, usable, cut, size):
    """The published crop: the face box, 10 px lower at the chin, averaged over five frames.

    Parameters
    ----------
    points : float32 [T, 468, 3], pixels
    usable, cut : bool [T]
        Boxes are averaged over usable frames of one shot only.
    size : (width, height) of the picture

    Returns
    -------
    int [T, 4]
        x0, y0, x1, y1 within the picture, ends exclusive; all zero where the frame is not usable.
    """
    usable = np.asarray(usable, dtype=bool)
    shot = np.cumsum(np.asarray(cut, dtype=bool))
    low, high = points[..., :2].min(axis=1), points[..., :2].max(axis=1)
    raw = np.concatenate([low, high + [0, CHIN_MARGIN_PX]], axis=1)  # [T, 4]
    boxes = np.zeros((len(points), 4), dtype=int)
    half = BOX_FRAMES // 2
    for t in np.flatnonzero(usable):
        near = np.arange(max(0, t - half), min(len(points), t + half + 1))
        near = near[usable[near] & (shot[near] == shot[t])]
        boxes[t] = np.round(raw[near].mean(axis=0))
    width, height = size
    return np.clip(boxes, 0, [width, height, width, height])


@lru_cache(maxsize=1)
def mouth_mask():
    """Where the network's picture is used: the lower half of the crop, feathered.

    The network paints the whole crop, its upper half merely as a blurred copy; so only what
    was hidden from it is taken, inside an ellipse that leaves out the corners with neck and
    background.

    Returns
    -------
    float32 [96, 96], 0..1, 0 in rows 0..43 and on the crop's rim
    """
    y, x = np.mgrid[:CROP_PX, :CROP_PX].astype(np.float32)
    middle = (CROP_PX - 1) / 2
    from_rim = 1.0 - np.hypot((x - middle) / 46.0, (y - 46.0) / 48.0)
    inside = np.clip(from_rim / 0.16, 0, 1)
    below = np.clip((y - 43.0) / 10.0, 0, 1)
    mask = inside * below
    return (mask * mask * (3 - 2 * mask)).astype(np.float32)


class Wav2LipEngine:
    """The network on a device, for crops in and crops out.

    Parameters
    ----------
    path : str or Path
        A checkpoint that `load` takes.
    device : str or torch.device
    batch_size : int, optional
        Crops computed at once; by default 8 on a CPU, where larger ones fall out of its
        caches (21 against 27 ms a crop on two cores), and 64 on a GPU.
    """

    def __init__(self, path, device="cpu", *, batch_size=None):
        self.device = torch.device(device)
        self.batch_size = batch_size or (8 if self.device.type == "cpu" else 64)
        self.network = load(path).fuse().to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def mouths(self, crops, times_s, mel):
        """Speaking crops for frames.

        Parameters
        ----------
        crops : uint8 [T, 96, 96, 3], RGB, 0..255
        times_s : float64 [T]
            Each frame's own time on the sound's clock.
        mel : float32 [80, steps]
            From `mel_spectrogram`, once for the whole sound.

        Returns
        -------
        uint8 [T, 96, 96, 3], RGB, 0..255
        """
        windows = mel_windows(mel, times_s)
        spoken = np.empty_like(crops)
        half_precision = self.device.type == "cuda"
        for start in range(0, len(crops), self.batch_size):
            part = slice(start, start + self.batch_size)
            rgb = torch.from_numpy(np.ascontiguousarray(crops[part])).to(self.device)
            whole = rgb.permute(0, 3, 1, 2).flip(1).float() / 255.0  # [B, 3, 96, 96], BGR
            hidden = whole.clone()
            hidden[:, :, CROP_PX // 2 :] = 0.0
            faces = torch.cat([hidden, whole], dim=1)
            faces = faces.contiguous(memory_format=torch.channels_last)
            sound = torch.from_numpy(windows[part]).to(self.device)
            with torch.autocast(self.device.type, torch.float16, enabled=half_precision):
                out = self.network(sound, faces)
            out = (out.float() * 255.0).round().clamp(0, 255).to(torch.uint8)
            spoken[part] = out.flip(1).permute(0, 2, 3, 1).cpu().numpy()
        return spoken


class Wav2LipRenderer:
    """Drives the engine over one avatar, with the interface of `heygem.rendering.warp.renderer.Renderer`.

    Parameters
    ----------
    engine : Wav2LipEngine
    avatar : heygem.avatar.Avatar
    samples : float32 [n], 16 kHz
        The sound to speak.
    offset_ms : float
        Positive values move the mouth later.
    """

    def __init__(self, engine, avatar, samples, *, offset_ms=0.0):
        self.engine = engine
        self.mel = mel_spectrogram(samples)
        self.offset_s = offset_ms / 1000.0
        track = avatar.track
        size = (track.width, track.height)
        self.boxes = face_boxes(track.points, avatar.usable, track.cut, size)
        self._times_s = self._order = None

    def plan(self, times_s, order):
        """Say which tracked frame is shown when.

        Parameters
        ----------
        times_s : float64 [T]
            Time of each output frame.
        order : int [T]
            Index in the avatar's track of the frame shown.
        """
        self._times_s = np.asarray(times_s, dtype=np.float64) - self.offset_s
        self._order = np.asarray(order, dtype=int)

    def render(self, image, index):
        """The mouth for output frame `index`, or None where no face was found."""
        return self.render_batch([image], [index])[0]

    def render_batch(self, images, indices):
        """Mouths for several output frames at once, which is what makes a GPU worth it.

        Parameters
        ----------
        images : sequence of uint8 [H, W, 3], RGB
        indices : sequence of int
            Output frames, as planned.

        Returns
        -------
        list of Patch or None
            None where the frame has no usable face.
        """
        boxes = [self.boxes[self._order[i]] for i in indices]
        usable = [n for n, (x0, y0, x1, y1) in enumerate(boxes) if min(x1 - x0, y1 - y0) >= 16]
        patches = [None] * len(images)
        if not usable:
            return patches
        crops = []
        for n in usable:
            x0, y0, x1, y1 = boxes[n]
            crops.append(cv2.resize(images[n][y0:y1, x0:x1], (CROP_PX, CROP_PX)))
        times_s = self._times_s[[indices[n] for n in usable]]
        spoken = self.engine.mouths(np.stack(crops), times_s, self.mel)
        for n, crop in zip(usable, spoken, strict=True):
            x0, y0, x1, y1 = (int(v) for v in boxes[n])
            size = (x1 - x0, y1 - y0)
            picture = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC)
            mask = cv2.resize(mouth_mask(), size, interpolation=cv2.INTER_LINEAR)
            patches[n] = Patch(image=picture, mask=mask, x=x0, y=y0)
        return patches
