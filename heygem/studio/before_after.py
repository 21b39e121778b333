"""The same speech rendered twice: with the base model and with a fine-tuned avatar."""

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from heygem import media, pipeline
from heygem.avatar import Avatar
from heygem.config.params import Params
from heygem.core import logs
from heygem.core.types import FloatArray, Image, PathLike, Progress
from heygem.face import topology as topo
from heygem.lips.trajectory import aperture_of
from heygem.provenance.picture import label_picture
from heygem.studio.clip import ApertureCurves, Clip
from heygem.studio.session import Session

SPAN_S = 3.0
STRIP_FRAMES = 6
CROP_RADIUS = 0.9  # half the side of a crop, in widths of the mouth
CROP_PX = 200


@dataclass(frozen=True)
class BeforeAfter:
    """Two renderings of the same span, and curves and crops to compare them by.

    Attributes
    ----------
    before, after : heygem.studio.clip.Clip
        With the base model, and with the fine-tuned avatar.
    curves : heygem.studio.clip.ApertureCurves
        Lip aperture of the base model and of the fine-tuned one.
    filmed : float32 [N] or None
        Lip aperture in the footage at the same times, where the speech is its own.
    rows : tuple of uint8 [h, w, 3]
        Mouth crops at the same times: as filmed, base model, fine-tuned model.
    frame_s : float
    """

    before: Clip
    after: Clip
    curves: ApertureCurves
    filmed: FloatArray | None
    rows: tuple[Image, ...]
    frame_s: float

    @property
    def grid(self) -> Image:
        """The rows below each other, labelled above : uint8 [3 h + strip, w, 3]."""
        return label_picture(np.concatenate(self.rows))


def render_before_after(
    video: PathLike,
    bundle: PathLike,
    audio: PathLike,
    params: Params,
    *,
    folder: PathLike,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> BeforeAfter:
    """Render three seconds of speech with the base model and with a fine-tuned avatar.

    Parameters
    ----------
    video, bundle : path
        Footage of the person, and the avatar bundle fine-tuned on it.
    audio : path
        The footage itself to render its own speech, beside the filmed mouth.
    params : heygem.config.params.Params
    folder : path
        Receives the clips.
    progress, cancel : optional
        As for `heygem.pipeline.generate`.
    """
    with logs.quiet_libraries():
        models = pipeline.load_models(params)
    sessions = []
    for avatar in (video, bundle):
        session = Session(params, folder=folder, models=models)
        session.load(avatar, audio, progress=progress, cancel=cancel)
        sessions.append(session)
    base, tuned = sessions
    start_s = densest_speech_start(base.encoded_audio.voice, SPAN_S)
    before, after = (
        session.render(params, start_s, SPAN_S, progress=progress, cancel=cancel)
        for session in sessions
    )
    base_curves, tuned_curves = (
        session.aperture_curves(params.lips, start_s, SPAN_S) for session in sessions
    )
    curves = ApertureCurves(
        base_curves.times_s, base_curves.after, tuned_curves.after, start_s,
        start_s + before.length_s,
    )  # fmt: skip
    own_speech = Path(audio).resolve() == Path(video).resolve()
    filmed = _filmed_aperture(base.avatar, curves.times_s) if own_speech else None
    box = mouth_box(base.avatar)
    rows = tuple(mouth_strip(path, box) for path in (before.source, before.result, after.result))
    return BeforeAfter(before, after, curves, filmed, rows, base.frame_s)


def densest_speech_start(voice: FloatArray, span_s: float) -> float:
    """Start [s] of the span with the most speech; `voice` float [N], 0..1 at 100 Hz."""
    rows = round(span_s * 100)
    if len(voice) <= rows:
        return 0.0
    total = np.concatenate([[0.0], np.cumsum(voice)])
    return float(np.argmax(total[rows:] - total[:-rows]) / 100)


def mouth_box(avatar: Avatar) -> FloatArray:
    """Median box around the mouth : float [4], x0 y0 x1 y1 as fractions of the frame."""
    lips = avatar.track.points[avatar.usable][:, list(topo.LIPS_OUTER), :2]
    low, high = np.median(lips.min(1), 0), np.median(lips.max(1), 0)
    radius = (high[0] - low[0]) * CROP_RADIUS
    middle = (low + high) / 2
    size = np.array([avatar.track.width, avatar.track.height])
    corners = np.concatenate([(middle - radius) / size, (middle + radius) / size])
    return np.clip(corners, 0, 1)


def mouth_strip(path: PathLike, box: FloatArray) -> Image:
    """Mouth crops at evenly spaced times of a clip : uint8 [CROP_PX, n CROP_PX, 3]."""
    length_s = media.probe(path).duration_s
    crops = []
    for k in range(STRIP_FRAMES):
        with media.VideoReader(path, start_s=(k + 0.5) / STRIP_FRAMES * length_s) as reader:
            frame = next(iter(reader), None)
        if frame is None:
            continue
        height, width = frame.image.shape[:2]
        x0, y0, x1, y1 = np.rint(box * [width, height, width, height]).astype(int)
        crop = frame.image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        crops.append(cv2.resize(crop, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA))
    return np.concatenate(crops, axis=1)


def _filmed_aperture(avatar: Avatar, times_s: FloatArray) -> FloatArray:
    usable = np.flatnonzero(avatar.usable)
    aperture = aperture_of(avatar.displacement(usable))
    return np.interp(times_s, avatar.track.times_s[usable], aperture).astype(np.float32)
