"""A person with the base model and with their own: the same words, drawn twice."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from heygem import media, pipeline
from heygem.core import logs
from heygem.face import topology as topo
from heygem.lips.trajectory import aperture_of
from heygem.studio.session import Clip, Curves, Workbench

SPAN_S = 3.0
INSTANTS = 6
AROUND = 0.9  # of the mouth's width, left and right of it in the grid
CELL_PX = 200


@dataclass(frozen=True)
class Contrast:
    """What was drawn.

    Attributes
    ----------
    before, after : heygem.studio.session.Clip
    curves : heygem.studio.session.Curves
        Lip gap by the base model and by the person's own.
    real : float32 [N] or None
        The person's own lip gap at the same times, where the words are theirs.
    rows : tuple of uint8 [h, w, 3]
        Mouths at the same instants: as filmed, by the base model, by the own model.
    frame_s : float
    """

    before: Clip
    after: Clip
    curves: Curves
    real: np.ndarray | None
    rows: tuple
    frame_s: float

    @property
    def grid(self):
        """The rows below each other : uint8 [3 h, w, 3]."""
        return np.concatenate(self.rows)


def draw(video, taught, sound, params, *, folder, progress=None, cancel=None):
    """Draw three seconds of speech with both models.

    Parameters
    ----------
    video, taught : path
        The shown footage, and the folder that was learnt from it.
    sound : path
        The footage itself where its own words are wanted, which shows the truth beside both.
    params : heygem.config.params.Params
    folder : path
        Receives the clips.
    progress, cancel : optional
        As for `heygem.pipeline.generate`.

    Returns
    -------
    Contrast
    """
    with logs.quiet_libraries():
        models = pipeline.load_models(params)
    benches = []
    for person in (video, taught):
        bench = Workbench(params, folder=folder, models=models)
        bench.open(person, sound, progress=progress, cancel=cancel)
        benches.append(bench)
    base, own = benches
    start_s = busiest(base.heard.voice, SPAN_S)
    clips = [
        bench.render(params, start_s, SPAN_S, progress=progress, cancel=cancel) for bench in benches
    ]
    drawn = [bench.curves(params.lips, start_s, SPAN_S) for bench in benches]
    curves = Curves(
        drawn[0].times_s, drawn[0].after, drawn[1].after, start_s, start_s + clips[0].length_s
    )
    own_words = Path(sound).resolve() == Path(video).resolve()
    real = _real(base.person, curves.times_s) if own_words else None
    box = mouth_box(base.person)
    seen = (clips[0].source, clips[0].result, clips[1].result)
    rows = tuple(strip(path, box) for path in seen)
    rate = float(base.person.info.video.rate)
    return Contrast(*clips, curves, real, rows, 1 / rate if rate > 0 else 0.04)


def busiest(voice, span_s):
    """Start [s] of the span in which somebody speaks most; `voice` float [N] at 100 Hz."""
    rows = round(span_s * 100)
    if len(voice) <= rows:
        return 0.0
    total = np.concatenate([[0.0], np.cumsum(voice)])
    return float(np.argmax(total[rows:] - total[:-rows]) / 100)


def mouth_box(person):
    """Where the mouth is over the video: x0, y0, x1, y1 as shares of the picture."""
    lips = person.track.points[person.usable][:, list(topo.LIPS_OUTER), :2]
    low, high = np.median(lips.min(1), 0), np.median(lips.max(1), 0)
    side = (high[0] - low[0]) * AROUND
    middle = (low + high) / 2
    size = np.array([person.track.width, person.track.height])
    corners = np.concatenate([(middle - side) / size, (middle + side) / size])
    return np.clip(corners, 0, 1)


def strip(path, box):
    """Mouths at even times over a clip, side by side : uint8 [CELL_PX, n CELL_PX, 3]."""
    length_s = media.probe(path).duration_s
    cells = []
    for k in range(INSTANTS):
        with media.VideoReader(path, start_s=(k + 0.5) / INSTANTS * length_s) as reader:
            frame = next(iter(reader), None)
        if frame is None:
            continue
        height, width = frame.image.shape[:2]
        x0, y0, x1, y1 = np.rint(box * [width, height, width, height]).astype(int)
        cut = frame.image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        cells.append(cv2.resize(cut, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA))
    return np.concatenate(cells, axis=1)


def _real(person, times_s):
    usable = np.flatnonzero(person.usable)
    gap = aperture_of(person.displacement(usable))
    return np.interp(times_s, person.track.times_s[usable], gap).astype(np.float32)


def jpeg(image):
    """A picture `uint8 [H, W, 3]` as JPEG bytes."""
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes() if ok else b""
