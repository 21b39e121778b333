"""The Wav2Lip network as a renderer: crops of a tracked face and a sound in, mouths out."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch

from heygem.avatar.avatar import Avatar
from heygem.avatar.timeline import Timeline
from heygem.core.device_batches import DeviceBatches
from heygem.core.interpolation import smoothstep
from heygem.core.types import BoolArray, FloatArray, Image, IntArray, PathLike
from heygem.lips.motion import Motion
from heygem.rendering.base import Patch
from heygem.rendering.wav2lip.checkpoint import load
from heygem.rendering.wav2lip.mel import mel_spectrogram, mel_windows
from heygem.rendering.wav2lip.network import CROP_PX

CHIN_MARGIN_PX = 10  # the published padding of the face box, at its lower edge
BOX_FRAMES = 5  # boxes are averaged over five frames
MIN_BOX_PX = 16  # a smaller face has nothing to draw


def face_boxes(
    points: FloatArray, usable: BoolArray, cut: BoolArray, size: tuple[int, int]
) -> IntArray:
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
        near = np.arange(max(0, int(t) - half), min(len(points), int(t) + half + 1))
        near = near[usable[near] & (shot[near] == shot[t])]
        boxes[t] = np.round(raw[near].mean(axis=0))
    width, height = size
    return np.clip(boxes, 0, [width, height, width, height])


@lru_cache(maxsize=1)
def mouth_mask() -> FloatArray:
    """Where the network's picture is used: the lower half of the crop, feathered.

    The network paints the whole crop, its upper half as a blurred copy; so only the half that was
    hidden from it is used, inside an ellipse that leaves out the corners with neck and background.

    Returns
    -------
    float32 [96, 96], 0..1, 0 in rows 0..43 and on the crop's rim
    """
    y, x = np.mgrid[:CROP_PX, :CROP_PX].astype(np.float32)
    middle = (CROP_PX - 1) / 2
    from_rim = 1.0 - np.hypot((x - middle) / 46.0, (y - 46.0) / 48.0)
    inside = np.clip(from_rim / 0.16, 0, 1)
    below = np.clip((y - 43.0) / 10.0, 0, 1)
    return smoothstep(0, 1, inside * below).astype(np.float32)


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

    def __init__(
        self, path: PathLike, device: str = "cpu", *, batch_size: int | None = None
    ) -> None:
        self.device = torch.device(device)
        self.batch_size = batch_size or (8 if self.device.type == "cpu" else 64)
        network: Any = load(path).fuse()  # torch types `to` without a memory format
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self._batches = DeviceBatches(self.device)

    @torch.inference_mode()
    def mouths(self, crops: Image, times_s: FloatArray, mel: FloatArray) -> Image:
        """Generate the speaking crops of frames.

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
        generated = np.empty_like(crops)

        def compute(part: slice) -> None:
            generated[part] = self._generated(crops[part], windows[part])

        done = self._batches.run(len(crops), self.batch_size, compute)
        if done < len(crops):  # memory of the device ran out
            self.device = torch.device("cpu")
            self.network.to(self.device)
            self._batches = DeviceBatches(self.device, note=self._batches.note)
            generated[done:] = self.mouths(crops[done:], times_s[done:], mel)
        return generated

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about how the network was computed."""
        return () if self._batches.note is None else (self._batches.note,)

    def _generated(self, crops: Image, windows: FloatArray) -> Image:
        """As `mouths`, for crops and windows of the mel spectrogram of one batch."""
        rgb = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device)
        whole = rgb.permute(0, 3, 1, 2).flip(1).float() / 255.0  # [B, 3, 96, 96], BGR
        hidden = whole.clone()
        hidden[:, :, CROP_PX // 2 :] = 0.0
        faces = torch.cat([hidden, whole], dim=1)
        faces = faces.contiguous(memory_format=torch.channels_last)
        sound = torch.from_numpy(windows).to(self.device)
        half_precision = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.float16, enabled=half_precision):
            out = self.network(sound, faces)
        out = (out.float() * 255.0).round().clamp(0, 255).to(torch.uint8)
        return out.flip(1).permute(0, 2, 3, 1).cpu().numpy()


class Wav2LipRenderer:
    """Draws one avatar's mouth with the network; a `heygem.rendering.base.Renderer`.

    It makes the mouth from the sound alone: a trajectory has no effect.

    Parameters
    ----------
    engine : Wav2LipEngine
    avatar : Avatar
    offset_ms : float
        Positive values move the mouth later.
    """

    uses_motion = False

    def __init__(self, engine: Wav2LipEngine, avatar: Avatar, *, offset_ms: float = 0.0) -> None:
        self.engine = engine
        self._offset_s = offset_ms / 1000.0
        track = avatar.track
        self.boxes = face_boxes(track.points, avatar.usable, track.cut, (track.width, track.height))
        self._mel: FloatArray = np.zeros((80, 0), np.float32)
        self._times_s: FloatArray = np.zeros(0)
        self._order: IntArray = np.zeros(0, int)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the way this person is drawn."""
        return self.engine.notes

    def plan(self, motion: Motion | None, samples: FloatArray, timeline: Timeline) -> None:
        """Compute the spectrogram and each frame's time; see `heygem.rendering.base.Renderer`."""
        self._mel = mel_spectrogram(samples)
        self._times_s = np.asarray(timeline.times_s, dtype=np.float64) - self._offset_s
        self._order = np.asarray(timeline.order, dtype=int)

    def render(self, image: Image, index: int) -> Patch | None:
        """The mouth of output frame `index`, or None where the frame has no usable face."""
        return self.render_batch([image], [index])[0]

    def render_batch(self, images: Sequence[Image], indices: Sequence[int]) -> list[Patch | None]:
        """Mouths of several output frames at once, which is what makes a GPU worth it.

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
        rows = [
            n for n, (x0, y0, x1, y1) in enumerate(boxes) if min(x1 - x0, y1 - y0) >= MIN_BOX_PX
        ]
        patches: list[Patch | None] = [None] * len(images)
        if not rows:
            return patches
        crops = []
        for n in rows:
            x0, y0, x1, y1 = boxes[n]
            crops.append(cv2.resize(images[n][y0:y1, x0:x1], (CROP_PX, CROP_PX)))
        times_s = self._times_s[[indices[n] for n in rows]]
        generated = self.engine.mouths(np.stack(crops), times_s, self._mel)
        for n, crop in zip(rows, generated, strict=True):
            x0, y0, x1, y1 = (int(v) for v in boxes[n])
            size = (x1 - x0, y1 - y0)
            picture = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC)
            mask = cv2.resize(mouth_mask(), size, interpolation=cv2.INTER_LINEAR)
            patches[n] = Patch(image=picture, mask=mask, x=x0, y=y0)
        return patches
