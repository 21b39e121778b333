"""Pictures to judge by eye: a contact sheet of mouths, and the real one beside the drawn ones.

Numbers do not see a tooth too many. The sheet shows mouths pixel by pixel, enlarged by whole
steps where they are small; the video shows the held-out part with its sound, the real mouth at the
left. Everything drawn says so.
"""

from pathlib import Path

import cv2
import numpy as np

from heygem import audio, media
from heygem.evaluation.image_metrics import Box
from heygem.evaluation.results import ADAPTED, MODEL
from heygem.face import topology as topo

MOMENTS = 12  # on the sheet, in two columns
MOUTH = (0.62, 0.52)  # half width and height around the mouth, eye-corner distances
FACE = (1.3, 1.5)
LEAST_PX = 280  # smaller pictures are enlarged
QUALITY = 98  # JPEG: kept pictures are compressed, or a minute would not fit in memory
TAKES = {
    (MODEL, "own"): "AI-generated",
    (ADAPTED, "own"): "AI-generated, few-shot",
    (MODEL, "silence"): "AI-generated, silence",
}


class Visualizer:
    """Keeps pictures of one clip while it is judged.

    Parameters
    ----------
    folder : path
        Receives `NAME.png` and `NAME.mp4`.
    clip : heygem.evaluation.clips.Clip
    """

    def __init__(self, folder, clip):
        self._folder = Path(folder)
        self._name = f"{clip.speaker}_{clip.path.stem}"
        self._takes = {}
        self._real = {}

    def taking(self, person, method, sound):
        """An observer for `heygem.evaluation.rerender.draw`, or None for a take that is not shown."""
        if (method, sound) not in TAKES:
            return None
        box = _around(person.avatar, FACE)
        kept = self._takes.setdefault((method, sound), {})

        def see(index, source, made):
            kept[index] = _pack(box.crop(made))
            self._real.setdefault(index, _pack(box.crop(source)))

        return see

    def finish(self, stage, samples):
        """Write sheet and video; returns their paths.

        stage : heygem.evaluation.rerender.Stage; samples : float32 [n], 16 kHz, of the whole clip.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        shown = [key for key in TAKES if key in self._takes]
        sheet = self._folder / f"{self._name}.png"
        cv2.imwrite(str(sheet), self._sheet(stage, shown)[..., ::-1])
        video = self._folder / f"{self._name}.mp4"
        self._video(video, stage, samples, [key for key in shown if key[1] == "own"])
        self._takes, self._real = {}, {}
        return [sheet, video]

    def _sheet(self, stage, shown):
        avatar = stage.person.avatar
        face = _around(avatar, FACE)
        scale = float(np.median(avatar.pose.scale[avatar.usable]))
        width, height = (2 * np.array(MOUTH) * scale).astype(int)
        rows = []
        for i in np.linspace(0, len(stage.frames) - 1, MOMENTS + 2).astype(int)[1:-1]:
            frame = int(stage.frames[i])
            middle = _middle(avatar.track.points[frame]) - (face.x0, face.y0)
            x, y = np.maximum(middle - (width / 2, height / 2), 0).astype(int)
            cells = [
                _unpack(kept[frame])[y : y + height, x : x + width] for kept in self._of(shown)
            ]
            rows.append([_enlarged(_padded(cell, height, width), LEAST_PX) for cell in cells])
        names = ["real", *(TAKES[key] for key in shown)]
        rows[0] = [_written(cell, name) for cell, name in zip(rows[0], names, strict=True)]
        lines = [np.concatenate(row, 1) for row in rows]
        half = len(lines) // 2
        gap = np.full((half * len(lines[0]), 8, 3), 255, np.uint8)
        halves = [np.concatenate(part, 0) for part in (lines[:half], lines[half : 2 * half])]
        return np.concatenate([halves[0], gap, halves[1]], 1)

    def _of(self, shown):
        return [self._real, *(self._takes[key] for key in shown)]

    def _video(self, path, stage, samples, shown):
        times_s = stage.times_s - stage.times_s[0]
        rate_hz = stage.real.rate_hz
        first, last = float(stage.times_s[0]), float(stage.times_s[-1]) + 1 / rate_hz
        sound = samples[int(first * audio.RATE_HZ) : int(last * audio.RATE_HZ)]
        track = media.AudioTrack(np.asarray(sound, np.float32)[:, None], audio.RATE_HZ)
        frames = [int(frame) for frame in stage.frames]
        height, width = (n // 2 * 2 for n in self._side_by_side(frames[0], shown).shape[:2])
        with media.VideoWriter(
            path, width=width, height=height, rate=round(rate_hz, 3), audio=track
        ) as writer:
            for frame, time_s in zip(frames, times_s, strict=True):
                picture = self._side_by_side(frame, shown)[:height, :width]
                writer.write(np.ascontiguousarray(picture), float(time_s))

    def _side_by_side(self, frame, shown):
        names = ["real", *(TAKES[key] for key in shown)]
        cells = [_enlarged(_unpack(kept[frame]), LEAST_PX) for kept in self._of(shown)]
        return np.concatenate([_written(c, n) for c, n in zip(cells, names, strict=True)], 1)


def _middle(points):
    return points[[*topo.MOUTH_CORNERS, *topo.LIP_MIDDLE], :2].mean(0)


def _around(avatar, half):
    """A box that holds the lower face in every usable frame."""
    scale = float(np.median(avatar.pose.scale[avatar.usable]))
    middles = np.array([_middle(p) for p in avatar.track.points[avatar.usable]])
    low, high = np.quantile(middles, 0.02, axis=0), np.quantile(middles, 0.98, axis=0)
    reach = np.array(half) * scale
    x0, y0 = np.maximum(low - reach, 0).astype(int)
    x1, y1 = (high + reach).astype(int)
    return Box(
        int(x0), int(y0), min(int(x1), avatar.track.width), min(int(y1), avatar.track.height)
    )


def _pack(image):
    flags = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), flags)[1]


def _unpack(data):
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def _enlarged(image, least_px):
    """By a whole factor, so that a pixel stays one."""
    factor = -(-least_px // max(image.shape[1], 1))
    if factor <= 1:
        return image
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_CUBIC)


def _padded(image, height, width):
    out = np.full((height, width, 3), 32, np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def _written(image, text):
    image = np.ascontiguousarray(image)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, text, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness)
    return image
