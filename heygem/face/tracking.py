"""Following one face through a video."""

from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from heygem.face import topology as topo
from heygem.face.detector import Region, region_of
from heygem.face.occlusion import NO_COLOURS, colours_of, covered

PRESENT = 0.5  # mesh score from which a face is there
CUT_LEVEL = 18.0  # mean grey difference of 32 px thumbnails; a cut is also 6x the recent motion
SURVEY_FRAMES = 8  # pictures looked at to decide whom to follow


class Backend(Protocol):
    """What finds faces. Everything downstream sees 468-point meshes, whoever made them."""

    name: str

    def detect(self, image) -> list[Region]: ...

    def mesh(self, image, region) -> tuple[np.ndarray, float]: ...


@dataclass
class Track:
    """One face through a video.

    Attributes
    ----------
    points : float32 [T, 468, 3]
        Meshes in pixels; rows without a face are zero.
    found : bool [T]
    cut : bool [T]
        True on the first frame of a new shot.
    score : float32 [T]
        Mesh score, 0..1.
    times_s : float64 [T]
    clarity : float32 [T]
        Detail around the eyes (mean absolute Laplacian, grey levels): falls in a dissolve, a swish
        of the camera, defocus; whether the mouth is open does not matter to it.
    covered : bool [T]
        Something passes before the mouth, see `heygem.face.occlusion`.
    width, height : int
        Picture size in pixels.
    faces : int
        Most faces seen in one picture.
    notes : list of str
        Choices made, in words.
    """

    points: np.ndarray
    found: np.ndarray
    cut: np.ndarray
    score: np.ndarray
    times_s: np.ndarray
    clarity: np.ndarray
    covered: np.ndarray
    width: int
    height: int
    faces: int = 1
    notes: list = field(default_factory=list)

    def __len__(self):
        return len(self.found)

    @property
    def runs(self):
        """Uninterrupted stretches with a face, as (start, stop) frame ranges."""
        runs, start = [], None
        for i in range(len(self)):
            if start is not None and (self.cut[i] or not self.found[i]):
                runs.append((start, i))
                start = None
            if start is None and self.found[i]:
                start = i
        if start is not None:
            runs.append((start, len(self)))
        return runs

    @property
    def face_px(self):
        """Face width per frame (temple to temple), pixels : float32 [T]."""
        edge = self.points[:, [234, 454], :2]
        return np.linalg.norm(edge[:, 1] - edge[:, 0], axis=1)


def survey(pictures, backend, choose="largest"):
    """Decide which face to follow.

    Parameters
    ----------
    pictures : iterable of uint8 [H, W, 3]
        A few frames spread over the video.
    backend : Backend
    choose : "largest", int or (x0, y0, x1, y1)
        The largest face that is there most of the time; the n-th from the left (0 is the
        leftmost); or the face inside a box in pixels.

    Returns
    -------
    (float32 [2] or None, int)
        Centre of the chosen face, in pixels (None: nobody was seen), and the most faces seen in
        one picture.
    """
    people = []  # [[Region, ...], ...]: sightings that overlap are one person
    most = 0
    for picture in pictures:
        seen = backend.detect(picture)
        most = max(most, len(seen))
        for region in seen:
            for person in people:
                if np.hypot(*(person[-1].centre - region.centre)) < 0.6 * region.face_px:
                    person.append(region)
                    break
            else:
                people.append([region])
    if not people:
        return None, 0
    if isinstance(choose, int):
        people.sort(key=lambda p: np.mean([r.centre[0] for r in p]))
        chosen = people[min(choose, len(people) - 1)]
    elif choose == "largest":
        chosen = max(people, key=lambda p: sum(r.face_px**2 for r in p))
    else:
        x0, y0, x1, y1 = choose
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        chosen = min(people, key=lambda p: np.hypot(*(p[0].centre - middle)))
    return np.mean([r.centre for r in chosen], 0).astype(np.float32), most


class Tracker:
    """Follows one face, frame by frame: by region while it lasts, by detection when it is lost."""

    def __init__(self, backend, *, start=None):
        self._backend = backend
        self._last = start  # where the face was, or is expected
        self._region = None
        self._thumb = None
        self._motion = 4.0
        self._misses = 0

    def _is_cut(self, image):
        step = max(
            1, min(image.shape[:2]) // 120
        )  # every n-th pixel is enough, and ten times cheaper
        grey = image[::step, ::step, 1]
        thumb = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        change = 0.0 if self._thumb is None else float(np.abs(thumb - self._thumb).mean())
        cut = change > max(CUT_LEVEL, 6 * self._motion)
        if not cut:
            self._motion += 0.1 * (change - self._motion)
        self._thumb = thumb
        return cut

    def _find(self, image):
        seen = self._backend.detect(image)
        if not seen:
            return None
        if self._last is None:
            return max(seen, key=lambda r: r.size_px)
        # The same person is where it was; a much smaller face that happens to be nearer is not.
        return min(seen, key=lambda r: np.hypot(*(r.centre - self._last)) / r.size_px)

    def __call__(self, image):
        """Take the next frame; returns (points [468, 3] or None, score, cut)."""
        cut = self._is_cut(image)
        if cut:
            self._region, self._last, self._misses = None, None, 0
        if self._region is not None:
            points, score = self._backend.mesh(image, self._region)
            if score >= PRESENT:
                self._region = region_of(points)
                self._last = self._region.centre
                return points, score, cut
            self._region = None
        # A face that is gone is looked for in every frame at first, then in every third.
        self._misses += 1
        if self._misses > 10 and self._misses % 3:
            return None, 0.0, cut
        region = self._find(image)
        if region is None:
            return None, 0.0, cut
        points, score = self._backend.mesh(image, region)
        # The detector's box is rough; the mesh's own region gives the settled fit.
        if score >= PRESENT:
            points, score = self._backend.mesh(image, region_of(points))
        if score < PRESENT:
            return None, score, cut
        self._region, self._misses = region_of(points), 0
        self._last = self._region.centre
        return points, score, cut


def clarity_of(image, points):
    """Detail of the picture around the eyes; see `Track.clarity`."""
    low = np.maximum(points[topo.STABLE, :2].min(0), 0).astype(int)
    high = points[topo.STABLE, :2].max(0).astype(int) + 1
    eyes = image[low[1] : high[1], low[0] : high[0], 1]
    if eyes.size == 0:
        return 0.0
    # One size for all: the face's distance must not count as detail.
    small = cv2.resize(eyes, (96, 64), interpolation=cv2.INTER_AREA)
    return float(np.abs(cv2.Laplacian(small, cv2.CV_32F)).mean())


def track(frames, backend, *, width, height, start=None, progress=None, faces=1, expected=1024):
    """Follow one face through a video.

    Parameters
    ----------
    frames : iterable of heygem.media.Frame
    backend : Backend
    width, height : int
        Picture size in pixels.
    start : float32 [2], optional
        Where the face to follow is, from `survey`.
    progress : callable, optional
        Called with the number of frames done.
    faces : int
        Most faces seen, for the record.
    expected : int
        How many frames there will be, about: memory is taken once.

    Returns
    -------
    Track
    """
    follow = Tracker(backend, start=start)
    points = np.zeros((max(16, expected), topo.POINTS, 3), np.float32)
    found, cuts, scores, times, clarity, colours = [], [], [], [], [], []
    for frame in frames:
        mesh, score, cut = follow(frame.image)
        n = len(times)
        if n == len(points):
            more = np.zeros((max(16, n // 4), topo.POINTS, 3), np.float32)
            points = np.concatenate([points, more])
        if mesh is not None:
            points[n] = mesh
        found.append(mesh is not None)
        cuts.append(cut)
        scores.append(score)
        times.append(frame.time_s)
        clarity.append(0.0 if mesh is None else clarity_of(frame.image, mesh))
        colours.append(NO_COLOURS if mesh is None else colours_of(frame.image, mesh))
        if progress is not None:
            progress(len(times))
    notes = [f"{faces} faces in the picture; one of them is followed"] if faces > 1 else []
    found, cuts = np.array(found, bool), np.array(cuts, bool)
    return Track(
        points=points[: len(times)],
        found=found,
        cut=cuts,
        score=np.array(scores, np.float32),
        times_s=np.array(times, np.float64),
        clarity=np.array(clarity, np.float32),
        covered=covered(colours, found, cuts),
        width=width,
        height=height,
        faces=faces,
        notes=notes,
    )
