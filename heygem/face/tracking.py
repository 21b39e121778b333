"""Following one face through a video."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from heygem.core.types import BoolArray, FloatArray, Image
from heygem.face import topology as topo
from heygem.face.detector import Region, region_of
from heygem.face.occlusion import NO_COLOURS, occluded_frames, skin_colours

MIN_SCORE = 0.5  # of the mesh, from which a face is there
CUT_LEVEL = 18.0  # mean grey difference of 32 px thumbnails; a cut is also 6x the recent motion
CUT_OVER_MOTION = 6.0
SURVEY_FRAMES = 8  # images in which faces are counted before one is chosen
SAME_FACE = 0.6  # of a face's size: detections nearer than this are the same person's
SEARCH_EVERY_FRAME = 10  # frames without a face, after which the search is made in every third


class Backend(Protocol):
    """Face detection and meshes. Everything downstream uses 468-point meshes of any backend."""

    name: str

    def detect(self, image: Image) -> list[Region]:
        """All faces, the best one first."""

    def mesh(self, image: Image, region: Region) -> tuple[FloatArray, float]:
        """Mesh `float32 [468, 3]` in pixels, and its score, 0..1."""


class TimedImage(Protocol):
    """What `track` needs of a frame, such as `heygem.media.Frame`."""

    @property
    def image(self) -> Image: ...

    @property
    def time_s(self) -> float: ...


@dataclass
class Track:
    """One face through a video.

    Attributes
    ----------
    points : float32 [T, 468, 3]
        Meshes in pixels; rows without a face are zero.
    detected : bool [T]
        Frames with a face.
    cut : bool [T]
        True on the first frame of a new shot.
    score : float32 [T]
        Mesh score, 0..1.
    times_s : float64 [T]
    clarity : float32 [T]
        Detail around the eyes (mean absolute Laplacian, grey levels): falls in a dissolve, in
        motion blur and defocus, and does not depend on the mouth.
    occluded : bool [T]
        Something is in front of the mouth, see `heygem.face.occlusion`.
    width, height : int
        Image size in pixels.
    faces : int
        Largest number of faces in one image.
    notes : list of str
        Choices made, in words.
    """

    points: FloatArray
    detected: BoolArray
    cut: BoolArray
    score: FloatArray
    times_s: FloatArray
    clarity: FloatArray
    occluded: BoolArray
    width: int
    height: int
    faces: int = 1
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.detected)

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Stretches with a face and without a cut, as (start, stop) frame ranges."""
        runs, start = [], None
        for i in range(len(self)):
            if start is not None and (self.cut[i] or not self.detected[i]):
                runs.append((start, i))
                start = None
            if start is None and self.detected[i]:
                start = i
        if start is not None:
            runs.append((start, len(self)))
        return runs

    @property
    def face_px(self) -> FloatArray:
        """Face width per frame (temple to temple), pixels : float32 [T]."""
        temples = self.points[:, list(topo.TEMPLES), :2]
        return np.linalg.norm(temples[:, 1] - temples[:, 0], axis=1)


Selection = str | int | tuple[float, float, float, float] | None


def survey(
    images: Iterable[Image], backend: Backend, select: Selection = "largest"
) -> tuple[FloatArray | None, int]:
    """Decide which face to follow.

    Parameters
    ----------
    images : iterable of uint8 [H, W, 3]
        A few frames spread over the video.
    backend : Backend
    select : "largest", int or (x0, y0, x1, y1)
        The largest face that is there most of the time; the n-th from the left (0 is the
        leftmost); or the face nearest to the middle of a box in pixels.

    Returns
    -------
    (float32 [2] or None, int)
        Centre of the selected face, in pixels (None: no face), and the largest number of faces in
        one image.
    """
    people: list[list[Region]] = []  # detections that overlap are one person's
    most = 0
    for image in images:
        regions = backend.detect(image)
        most = max(most, len(regions))
        for region in regions:
            for person in people:
                if np.hypot(*(person[-1].centre - region.centre)) < SAME_FACE * region.face_px:
                    person.append(region)
                    break
            else:
                people.append([region])
    if not people:
        return None, 0
    if isinstance(select, int):
        people.sort(key=lambda p: np.mean([r.centre[0] for r in p]))
        selected = people[min(select, len(people) - 1)]
    elif isinstance(select, tuple):
        x0, y0, x1, y1 = select
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        selected = min(people, key=lambda p: np.hypot(*(p[0].centre - middle)))
    else:
        selected = max(people, key=lambda p: sum(r.face_px**2 for r in p))
    return np.mean([r.centre for r in selected], 0).astype(np.float32), most


class Tracker:
    """Follows one face: from region to region while it lasts, by detection after a loss or a cut.

    Parameters
    ----------
    backend : Backend
    start : float32 [2], optional
        Where the face is expected, pixels. Default: the largest face.
    """

    def __init__(self, backend: Backend, *, start: FloatArray | None = None) -> None:
        self._backend = backend
        self._expected_at = start
        self._region: Region | None = None
        self._thumbnail: FloatArray | None = None
        self._motion = 4.0  # recent mean change of the thumbnail, grey levels
        self._misses = 0

    def __call__(self, image: Image) -> tuple[FloatArray | None, float, bool]:
        """Take the next frame; returns (points [468, 3] or None, score, cut)."""
        cut = self._is_cut(image)
        if cut:
            self._region, self._expected_at, self._misses = None, None, 0
        if self._region is not None:
            points, score = self._backend.mesh(image, self._region)
            if score >= MIN_SCORE:
                self._follow(points)
                return points, score, cut
            self._region = None
        # A lost face is searched for in every frame at first, then in every third.
        self._misses += 1
        if self._misses > SEARCH_EVERY_FRAME and self._misses % 3:
            return None, 0.0, cut
        region = self._search(image)
        if region is None:
            return None, 0.0, cut
        points, score = self._backend.mesh(image, region)
        # The detector's box is rough; the mesh's own region gives the settled fit.
        if score >= MIN_SCORE:
            points, score = self._backend.mesh(image, region_of(points))
        if score < MIN_SCORE:
            return None, score, cut
        self._misses = 0
        self._follow(points)
        return points, score, cut

    def _follow(self, points: FloatArray) -> None:
        self._region = region_of(points)
        self._expected_at = self._region.centre

    def _is_cut(self, image: Image) -> bool:
        # Every n-th pixel is enough, and ten times cheaper.
        step = max(1, min(image.shape[:2]) // 120)
        green = image[::step, ::step, 1]
        thumbnail = cv2.resize(green, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        change = 0.0
        if self._thumbnail is not None:
            change = float(np.abs(thumbnail - self._thumbnail).mean())
        cut = change > max(CUT_LEVEL, CUT_OVER_MOTION * self._motion)
        if not cut:
            self._motion += 0.1 * (change - self._motion)
        self._thumbnail = thumbnail
        return cut

    def _search(self, image: Image) -> Region | None:
        regions = self._backend.detect(image)
        if not regions:
            return None
        at = self._expected_at
        if at is None:
            return max(regions, key=lambda r: r.size_px)
        # The same person is where it was; a much smaller face that happens to be nearer is not.
        return min(regions, key=lambda r: np.hypot(*(r.centre - at)) / r.size_px)


def eye_clarity(image: Image, points: FloatArray) -> float:
    """Detail of the image around the eyes; see `Track.clarity`."""
    low = np.maximum(points[topo.STABLE, :2].min(0), 0).astype(int)
    high = points[topo.STABLE, :2].max(0).astype(int) + 1
    eyes = image[low[1] : high[1], low[0] : high[0], 1]
    if eyes.size == 0:
        return 0.0
    # One size for all: the face's distance must not count as detail.
    small = cv2.resize(eyes, (96, 64), interpolation=cv2.INTER_AREA)
    return float(np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean())


def _empty_meshes(count: int) -> FloatArray:
    return np.zeros((max(16, count), topo.POINTS, 3), np.float32)


def track(
    frames: Iterable[TimedImage],
    backend: Backend,
    *,
    width: int,
    height: int,
    start: FloatArray | None = None,
    progress: Callable[[int], None] | None = None,
    faces: int = 1,
    expected: int = 1024,
) -> Track:
    """Follow one face through a video.

    Parameters
    ----------
    frames : iterable of heygem.media.Frame
    backend : Backend
    width, height : int
        Image size in pixels.
    start : float32 [2], optional
        Where the face to follow is, from `survey`.
    progress : callable, optional
        Called with the number of frames done.
    faces : int
        Largest number of faces, from `survey`, for the record.
    expected : int
        Approximate number of frames, so that memory is allocated once.
    """
    tracker = Tracker(backend, start=start)
    points = _empty_meshes(expected)
    detected: list[bool] = []
    cuts: list[bool] = []
    scores, times, clarity = list[float](), list[float](), list[float]()
    colours: list[Image] = []
    for frame in frames:
        mesh, score, cut = tracker(frame.image)
        n = len(times)
        if n == len(points):
            points = np.concatenate([points, _empty_meshes(n // 4)])
        if mesh is not None:
            points[n] = mesh
        detected.append(mesh is not None)
        cuts.append(cut)
        scores.append(score)
        times.append(frame.time_s)
        clarity.append(0.0 if mesh is None else eye_clarity(frame.image, mesh))
        colours.append(NO_COLOURS if mesh is None else skin_colours(frame.image, mesh))
        if progress is not None:
            progress(len(times))
    detected_frames, cut_frames = np.array(detected, bool), np.array(cuts, bool)
    return Track(
        points=points[: len(times)],
        detected=detected_frames,
        cut=cut_frames,
        score=np.array(scores, np.float32),
        times_s=np.array(times, np.float64),
        clarity=np.array(clarity, np.float32),
        occluded=occluded_frames(colours, detected_frames, cut_frames),
        width=width,
        height=height,
        faces=faces,
        notes=[f"{faces} faces in the picture; one of them is followed"] if faces > 1 else [],
    )
