"""Talking videos as pairs of what is heard and how the mouth moves.

Each clip is tracked once, brought into the canonical frame, and cached by the content of its file,
so that a second training starts at once. Nothing of the pictures is kept.
"""

import csv
import hashlib
import logging
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from heygem import audio, media
from heygem.avatar.avatar import close_rest
from heygem.config.params import FaceSettings
from heygem.core import assets, files
from heygem.core.errors import HeygemError, InputError
from heygem.core.interpolation import blend_neighbours, interpolate_at_positions
from heygem.face import tracking
from heygem.face.backends import make_backend
from heygem.face.mesh import MESH_INPUT_PX, Mesh
from heygem.face.pose import fit_pose, to_canonical
from heygem.face.rest import fit_rest
from heygem.face.topology import LOWER
from heygem.lips.features import extract_features
from heygem.lips.trajectory import RATE_HZ, aperture_of

log = logging.getLogger(__name__)

VERSION = 5
MANIFEST = "MANIFEST.csv"
VIDEO_SUFFIXES = {
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".flv", ".ts", ".wmv")
}
POSE_SIGMA_S = 0.04  # as an avatar's poses are smoothed
LONGEST_GAP_S = 0.2  # a loss of the face that is bridged; a longer one is left out
SHORTEST_S = 1.0


@dataclass(frozen=True)
class Source:
    """A video to learn from.

    Attributes
    ----------
    path : Path
    speaker : str
        Who speaks; speakers, not clips, are held out.
    split : str
        Only "train" is learnt from.
    licence_class, licence, origin : str
        For the model card.
    sync : str
        What is known of its synchrony ("ok", "unsure", "off", "lag 2 frames"); for the record.
    """

    path: Path
    speaker: str
    split: str = "train"
    licence_class: str = "unstated"
    licence: str = ""
    origin: str = ""
    sync: str = ""


@dataclass(frozen=True)
class Clip:
    """One talking person.

    Attributes
    ----------
    source : Source
    sha256 : str
    heard : float32 [2 N, HEARD]
        `heygem.lips.features.features` at 100 Hz; with a speech encoder, its features follow.
    voice : float32 [2 N]
        Voice activity, 0..1 at 100 Hz.
    moved : float32 [N, len(LOWER), 3]
        Displacement of the lower face from rest at 50 Hz, in eye distances.
    valid : bool [N]
        Where the face was there.
    eye_px : float
        Distance of the outer eye corners in the picture, in pixels.
    lag_s : float
        How much later the picture is than the sound; `heard` and `moved` are as in the file.
    """

    source: Source
    sha256: str
    heard: np.ndarray
    voice: np.ndarray
    moved: np.ndarray
    valid: np.ndarray
    eye_px: float = 0.0
    lag_s: float = 0.0

    @property
    def duration_s(self):
        """Seconds with a face."""
        return float(self.valid.sum() / RATE_HZ)

    @property
    def speaking(self):
        """Rows with a face and a voice : bool [N]."""
        rows = len(self.valid)
        return self.valid & (audio.voice_at(self.voice, np.arange(rows) / RATE_HZ) > 0.5)

    @property
    def aperture(self):
        """Change of the lips' gap : float32 [N], eye distances."""
        return aperture_of(self.moved)

    def shifted(self, lag_s):
        """The clip with its picture brought forward by `lag_s`."""
        if abs(lag_s) * RATE_HZ < 0.25:
            return replace(self, lag_s=lag_s)
        rows = np.arange(len(self.moved))
        at = np.clip(rows + lag_s * RATE_HZ, 0, len(rows) - 1)
        low = np.minimum(at.astype(int), len(rows) - 2)
        moved = interpolate_at_positions(self.moved, at)
        inside = (rows + lag_s * RATE_HZ >= 0) & (rows + lag_s * RATE_HZ <= len(rows) - 1)
        return replace(self, moved=moved, valid=self.valid[low] & inside, lag_s=lag_s)


@dataclass
class Dataset:
    """Clips, and what could not be used and why."""

    clips: list
    skipped: dict = field(default_factory=dict)  # file name -> reason

    @property
    def sha256(self):
        """Hash over the contents of all clips, whatever their order."""
        joined = "\n".join(sorted(c.sha256 for c in self.clips))
        return hashlib.sha256(joined.encode()).hexdigest()


class FacesOfAnySize:
    """Tracking backend that fits small faces with the plain mesh.

    On faces it has to enlarge, the attention mesh sees no more than the plain one, which takes half
    the time: over 44 clips with less than 58 px between the eyes the gap's correlation with what a
    voice model expects was 0.38 and 0.40. The choice holds until the face is looked for again.
    """

    name = "mesh by size"

    def __init__(self):
        self._large = make_backend(FaceSettings())
        self._small = Mesh(assets.path("face_landmark.tflite"))
        self._chosen = None

    def detect(self, image):
        """All faces of a picture."""
        self._chosen = None
        return self._large.detect(image)

    def mesh(self, image, region):
        """Points float32 [468, 3] and score of one face."""
        if self._chosen is None:
            self._chosen = self._small if region.size_px < MESH_INPUT_PX else self._large.mesh
        return self._chosen(image, region)


def find(folder):
    """Videos of a folder: those of its `MANIFEST.csv`, else all, speakers named by sub-folder.

    Raises
    ------
    InputError
        The folder holds no video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", remedy="give a folder of talking videos")
    manifest = folder / MANIFEST
    if manifest.exists():
        with open(manifest, newline="", encoding="utf-8") as f:
            rows = [r for r in csv.DictReader(f) if r.get("split") != "audio"]
        found = [
            Source(
                folder / r["file"],
                r["speaker"],
                r.get("split") or "train",
                r.get("licence_class") or "unstated",
                r.get("licence") or "",
                r.get("source_repo") or "",
                r.get("sync") or "",
            )
            for r in rows
        ]
    else:
        found = [
            Source(p, p.parent.name if p.parent != folder else p.stem)
            for p in sorted(_files(folder))
            if p.suffix.lower() in VIDEO_SUFFIXES
        ]
    if not found:
        raise InputError(
            f"no videos in {folder}", remedy="give a folder with talking videos, one face each"
        )
    return found


def _files(folder):
    """All files below a folder, through links too: data often lies on another disk."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (Path(place) / name for name in names)


def load(sources, *, backend=FacesOfAnySize, cache=None, workers=1, encoder=None, progress=None):
    """Read all clips, from the cache where they are there.

    Parameters
    ----------
    sources : list of Source
    backend : callable
        Gives a `heygem.face.tracking.Backend`; called once per worker.
    cache : path, optional
        Folder for what was read; default: in the kit's own cache.
    workers : int
        Clips read at once.
    encoder : heygem.audio.encoder.SpeechEncoder, optional
        To listen with as well.
    progress : callable, optional
        `progress("track", clips_done, clips_total)`.

    Returns
    -------
    Dataset
    """
    cache = Path(cache) if cache is not None else assets.home() / "training"
    cache.mkdir(parents=True, exist_ok=True)
    found, skipped = [], {}
    backends = {}

    def one(source):
        me = threading.get_ident()
        try:
            sha256 = files.sha256(source.path)
            stored = cache / f"{sha256[:32]}-{VERSION}.npz"
            kept = _read(stored, source, sha256)
            if kept is None:
                if me not in backends:
                    backends[me] = backend()
                kept = read(source, backends[me], sha256=sha256)
                _write(stored, kept)
            return kept if encoder is None else _listen(kept, encoder, cache)
        except (HeygemError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for i, (source, got) in enumerate(zip(sources, pool.map(one, sources), strict=True)):
            if isinstance(got, Clip):
                found.append(got)
            else:
                skipped[source.path.name] = got
                log.warning("left out: %s: %s", source.path.name, got)
            if progress is not None:
                progress("track", i + 1, len(sources))
    return Dataset(found, skipped)


def read(source, backend, *, sha256=""):
    """Track one video and listen to it.

    Raises
    ------
    InputError
        No picture, no sound, or too little of a face.
    """
    info = media.probe(source.path)
    if info.video is None or info.is_still:
        raise InputError(f"{source.path.name} is not a video")
    samples = audio.load(source.path).samples
    with media.VideoReader(source.path) as reader:
        track = tracking.track(reader, backend, width=info.video.width, height=info.video.height)
    return from_track(source, track, samples, sha256=sha256)


def from_track(source, track, samples, *, sha256=""):
    """Pair a face track with its sound.

    Parameters
    ----------
    source : Source
    track : heygem.face.tracking.Track
    samples : float32 [n], 16 kHz

    Returns
    -------
    Clip
    """
    found = np.flatnonzero(track.found)
    if len(found) < 2 or track.times_s[found[-1]] - track.times_s[found[0]] < SHORTEST_S:
        raise InputError(
            f"{source.path.name} shows too little of a face",
            seen=f"{len(found)} of {len(track)} frames",
            remedy="use a video in which one person faces the camera",
        )
    times = track.times_s[found]
    rate = (len(found) - 1) / (times[-1] - times[0])
    breaks = (np.diff(times) > LONGEST_GAP_S) | track.cut[found[1:]]
    edges = [0, *(np.flatnonzero(breaks) + 1), len(found)]
    runs = list(zip(edges[:-1], edges[1:], strict=True))
    pose, _ = fit_pose(track.points[found], runs=runs, sigma_frames=POSE_SIGMA_S * rate)
    canonical = to_canonical(track.points[found], pose)
    rest = close_rest(fit_rest(canonical, pose))
    moved = (canonical[:, LOWER] - rest.at(pose)).astype(np.float32)
    rows = len(samples) // int(audio.RATE_HZ / RATE_HZ)
    grid = np.arange(rows) / RATE_HZ
    flat = moved.reshape(len(moved), -1)
    at = np.clip(np.searchsorted(times, grid) - 1, 0, len(times) - 2)
    part = np.clip((grid - times[at]) / np.maximum(np.diff(times)[at], 1e-6), 0, 1)
    gridded = blend_neighbours(flat, at, part)
    valid = np.zeros(rows, bool)
    for start, stop in runs:
        valid |= (grid >= times[start] - 0.5 / rate) & (grid <= times[stop - 1] + 0.5 / rate)
    voice = audio.voice_activity(samples)[: 2 * rows]
    return Clip(
        source,
        sha256,
        extract_features(samples, rows=rows).astype(np.float32),
        np.pad(voice, (0, 2 * rows - len(voice))).astype(np.float32),
        gridded.reshape(rows, len(LOWER), 3).astype(np.float32),
        valid,
        float(np.median(pose.scale)),
    )


def _listen(clip, encoder, cache):
    """The clip with the features of the speech encoder, from the cache where it is there."""
    who = encoder.identity
    stored = cache / f"{clip.sha256[:32]}-{who.sha256[:16]}-{who.layer}.npy"
    try:
        more = np.load(stored)
    except (OSError, ValueError):
        samples = audio.load(clip.source.path).samples
        more = encoder.encode(samples, rows=len(clip.heard)).astype(np.float16)
        part = stored.with_suffix(f".{threading.get_ident()}.part")
        with open(part, "wb") as f:
            np.save(f, more)
        part.replace(stored)
    return replace(clip, heard=np.concatenate([clip.heard, more.astype(np.float32)], 1))


def _write(stored, clip):
    handle, name = tempfile.mkstemp(dir=stored.parent, suffix=".part")
    with os.fdopen(handle, "wb") as f:
        np.savez(
            f,
            heard=clip.heard.astype(np.float16),
            voice=clip.voice.astype(np.float16),
            moved=clip.moved.astype(np.float16),  # 0.05 % of a movement
            valid=clip.valid,
            eye_px=clip.eye_px,
        )
    os.replace(name, stored)


def _read(stored, source, sha256):
    try:
        with np.load(stored) as z:
            if z["moved"].shape[1] != len(LOWER):
                return None
            return Clip(
                source,
                sha256,
                *(z[k].astype(np.float32) for k in ("heard", "voice", "moved")),
                z["valid"],
                float(z["eye_px"]),
            )
    except (OSError, ValueError, KeyError):
        return None
