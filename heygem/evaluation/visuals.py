"""Pictures for inspection by eye: a contact sheet of mouths, and a comparison video.

No metric counts a tooth too many. The sheet shows mouths pixel by pixel, small ones enlarged by an
integer factor; the video shows the held-out part with its audio. The real mouth is at the left, and
everything rendered carries a caption that says so. Both files are labelled like any result.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from heygem import audio, media
from heygem.avatar import Avatar
from heygem.config.params import LabelSettings
from heygem.core import files
from heygem.core.types import FloatArray, Image, PathLike
from heygem.evaluation.clips import Clip
from heygem.evaluation.held_out import TestClip
from heygem.evaluation.image_metrics import Box
from heygem.evaluation.results import FINETUNED, MODEL, OWN_AUDIO
from heygem.evaluation.split import Person
from heygem.face import topology as topo
from heygem.provenance import consent, keys
from heygem.provenance.film import write_film
from heygem.provenance.ledger import Ledger
from heygem.provenance.picture import LabelledPage, save_labelled

SILENCE = "silence"  # kind of audio, beside those of `heygem.evaluation.results.Row.audio`
MOTIONLESS = "silence, motionless mouth"  # another one; no picture is kept of it
MOMENTS = 12  # on the sheet, in two columns
MOUTH = (0.62, 0.52)  # half width and height of the window around the mouth, IOD
FACE = (1.3, 1.5)  # the same of the lower face
MIN_WIDTH_PX = 280  # narrower pictures are enlarged
JPEG_QUALITY = 98  # pictures are kept compressed: a minute of them would not fit in memory
CAPTIONS = {
    (MODEL, OWN_AUDIO): "AI-generated",
    (FINETUNED, OWN_AUDIO): "AI-generated, fine-tuned",
    (MODEL, SILENCE): "AI-generated, silence",
}

Take = tuple[str, str]  # method and kind of audio, a key of `CAPTIONS`


class Visualizer:
    """Collects pictures of one clip while it is evaluated.

    Parameters
    ----------
    folder : path
        Receives `NAME.png` and `NAME.mp4`.
    clip : heygem.evaluation.clips.Clip
    """

    def __init__(self, folder: PathLike, clip: Clip) -> None:
        self._folder = Path(folder)
        self._clip = clip
        self._name = f"{clip.speaker}_{clip.path.stem}"
        self._takes: dict[Take, dict[int, np.ndarray]] = {}
        self._real: dict[int, np.ndarray] = {}

    def observer(
        self, person: Person, method: str, kind: str
    ) -> Callable[[int, Image, Image], None] | None:
        """The `on_frame` of `heygem.evaluation.rerender.render_clip`; None for a take not shown."""
        if (method, kind) not in CAPTIONS:
            return None
        box = _lower_face_box(person.avatar)
        pictures = self._takes.setdefault((method, kind), {})

        def on_frame(index: int, source: Image, rendered: Image) -> None:
            pictures[index] = _compress(box.crop(rendered))
            self._real.setdefault(index, _compress(box.crop(source)))

        return on_frame

    def write(self, clip: TestClip, samples: FloatArray) -> list[Path]:
        """Write sheet and video; returns their paths.

        samples : float32 [n], audio of the whole clip, 16 kHz mono.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        takes = [take for take in CAPTIONS if take in self._takes]
        permission = _permission(self._clip)
        sheet = save_labelled(self._sheet(clip, takes), self._folder / f"{self._name}.png")
        facts = {"evaluation": True, "sheet": files.sha256(sheet), **permission}
        video = self._folder / f"{self._name}.mp4"
        shown = [take for take in takes if take[1] == OWN_AUDIO]
        self._write_video(video, clip, samples, shown, facts)
        self._takes, self._real = {}, {}
        return [sheet, video]

    def _sheet(self, clip: TestClip, takes: Sequence[Take]) -> Image:
        avatar = clip.person.avatar
        face = _lower_face_box(avatar)
        scale = float(np.median(avatar.pose.scale[avatar.usable]))
        width, height = (2 * np.array(MOUTH) * scale).astype(int)
        rows = []
        for i in np.linspace(0, len(clip.frames) - 1, MOMENTS + 2).astype(int)[1:-1]:
            frame = int(clip.frames[i])
            center = _mouth_center(avatar.track.points[frame]) - (face.x0, face.y0)
            x, y = np.maximum(center - (width / 2, height / 2), 0).astype(int)
            cells = [
                _decompress(pictures[frame])[y : y + height, x : x + width]
                for pictures in self._columns(takes)
            ]
            rows.append([_enlarge(_pad(cell, height, width)) for cell in cells])
        captions = ["real", *(CAPTIONS[take] for take in takes)]
        rows[0] = [_write_caption(cell, c) for cell, c in zip(rows[0], captions, strict=True)]
        strips = [np.concatenate(row, 1) for row in rows]
        half = len(strips) // 2
        gap = np.full((half * len(strips[0]), 8, 3), 255, np.uint8)
        left, right = (np.concatenate(p, 0) for p in (strips[:half], strips[half : 2 * half]))
        return np.concatenate([left, gap, right], 1)

    def _columns(self, takes: Sequence[Take]) -> list[dict[int, np.ndarray]]:
        return [self._real, *(self._takes[take] for take in takes)]

    def _write_video(
        self,
        path: Path,
        clip: TestClip,
        samples: FloatArray,
        takes: Sequence[Take],
        facts: dict[str, Any],
    ) -> None:
        times_s = clip.times_s - clip.times_s[0]
        rate_hz = clip.real.rate_hz
        first, last = float(clip.times_s[0]), float(clip.times_s[-1]) + 1 / rate_hz
        speech = np.asarray(
            samples[int(first * audio.RATE_HZ) : int(last * audio.RATE_HZ)], np.float32
        )
        frames = [int(frame) for frame in clip.frames]
        height, width = self._side_by_side(frames[0], takes).shape[:2]
        page = LabelledPage(width, height, LabelSettings())
        pictures = (page.around(self._side_by_side(frame, takes)) for frame in frames)
        write_film(
            path,
            zip(pictures, times_s.tolist(), strict=True),
            size=page.size,
            rate=round(rate_hz, 3),
            settings=LabelSettings(),
            keep_clear=[page.content],
            parent=self._clip.path,
            sound=(speech, audio.RATE_HZ),
            facts=facts,
            audio=media.AudioTrack(speech[:, None], audio.RATE_HZ),
        )

    def _side_by_side(self, frame: int, takes: Sequence[Take]) -> Image:
        captions = ["real", *(CAPTIONS[take] for take in takes)]
        cells = [_enlarge(_decompress(pictures[frame])) for pictures in self._columns(takes)]
        return np.concatenate(
            [_write_caption(cell, c) for cell, c in zip(cells, captions, strict=True)], 1
        )


def _permission(clip: Clip) -> dict[str, Any]:
    """Permission to show the person of a clip, for the ledger; raises ConsentError without one."""
    ledger = Ledger(keys=keys.ensure())
    sources = [files.sha256(path) for path in clip.parts or (clip.path,)]
    permissions = [consent.require(ledger, sha256, sha256, basis=None) for sha256 in sources]
    return {"sources": {"video": sources[0]}, "clips": sources, "permission": permissions[0]}


def _mouth_center(points: FloatArray) -> FloatArray:
    return points[[*topo.MOUTH_CORNERS, *topo.LIP_MIDDLE], :2].mean(0)


def _lower_face_box(avatar: Avatar) -> Box:
    """A box that holds the lower face in every usable frame."""
    scale = float(np.median(avatar.pose.scale[avatar.usable]))
    centers = np.array([_mouth_center(p) for p in avatar.track.points[avatar.usable]])
    low, high = np.quantile(centers, 0.02, axis=0), np.quantile(centers, 0.98, axis=0)
    reach = np.array(FACE) * scale
    x0, y0 = np.maximum(low - reach, 0).astype(int)
    x1, y1 = (high + reach).astype(int)
    return Box(
        int(x0), int(y0), min(int(x1), avatar.track.width), min(int(y1), avatar.track.height)
    )


def _compress(image: Image) -> np.ndarray:
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), flags)[1]


def _decompress(data: np.ndarray) -> Image:
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert image is not None  # `_compress` has written it
    return np.asarray(image[..., ::-1], np.uint8)


def _enlarge(image: Image) -> Image:
    """Enlarge to `MIN_WIDTH_PX` by an integer factor, so that pixels stay visible."""
    factor = -(-MIN_WIDTH_PX // max(image.shape[1], 1))
    if factor <= 1:
        return image
    size = (image.shape[1] * factor, image.shape[0] * factor)
    large = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def _pad(image: Image, height: int, width: int) -> Image:
    out = np.full((height, width, 3), 32, np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def _write_caption(image: Image, text: str) -> Image:
    image = np.ascontiguousarray(image)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, text, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness)
    return image
