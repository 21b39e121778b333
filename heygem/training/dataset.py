"""Folders of talking videos as training clips.

Each video is tracked once and cached by the hash of its file, so that a second training starts at
once. No picture is stored.
"""

import csv
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from heygem import audio, media
from heygem.audio.embedding import PROJECTIONS
from heygem.config.params import FaceSettings
from heygem.core import assets, files
from heygem.core.errors import HeygemError, InputError
from heygem.core.types import FloatArray, Image, PathLike, Progress
from heygem.face import tracking
from heygem.face.backends import make_backend
from heygem.face.detector import Region
from heygem.face.mesh import MESH_INPUT_PX, Mesh
from heygem.face.topology import LOWER
from heygem.media.container import FOOTAGE_SUFFIXES
from heygem.training.clip import Clip, Source, from_track
from heygem.training.embeddings import AUGMENTED, EMBEDDING_VERSION, embeddings_for_training

log = logging.getLogger(__name__)

CACHE_VERSION = 5
MANIFEST = "MANIFEST.csv"


@dataclass
class Dataset:
    """Clips, and the videos that could not be used.

    Attributes
    ----------
    clips : list of Clip
    skipped : dict of str to str
        File name to reason.
    """

    clips: list[Clip]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash over the contents of all clips, in whatever order."""
        joined = "\n".join(sorted(c.sha256 for c in self.clips))
        return hashlib.sha256(joined.encode()).hexdigest()


class MeshBySize:
    """Tracking backend that uses the plain mesh model for small faces.

    On faces that have to be enlarged, the attention mesh is no more precise than the plain one,
    which takes half the time: over 44 clips with less than 58 px between the eyes the aperture's
    correlation with the predicted one was 0.38 and 0.40. The choice holds until the next detection.
    """

    name = "mesh by size"

    def __init__(self) -> None:
        self._large = make_backend(FaceSettings())
        self._small = Mesh(assets.path("face_landmark.tflite"))
        self._chosen: Callable[[Image, Region], tuple[FloatArray, float]] | None = None

    def detect(self, image: Image) -> list[Region]:
        """All faces of a picture."""
        self._chosen = None
        return self._large.detect(image)

    def mesh(self, image: Image, region: Region) -> tuple[FloatArray, float]:
        """Points float32 [468, 3] and score of one face."""
        if self._chosen is None:
            self._chosen = self._small if region.size_px < MESH_INPUT_PX else self._large.mesh
        return self._chosen(image, region)


def find(folder: PathLike) -> list[Source]:
    """List a folder's videos: those of its `MANIFEST.csv`, else all, speakers named by sub-folder.

    Raises
    ------
    InputError
        The folder holds no video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", remedy="give a folder of talking videos")
    if (folder / MANIFEST).exists():
        sources = _read_manifest(folder)
    else:
        sources = [
            Source(p, p.parent.name if p.parent != folder else p.stem)
            for p in sorted(_walk(folder))
            if p.suffix.lower() in FOOTAGE_SUFFIXES
        ]
    if not sources:
        raise InputError(
            f"no videos in {folder}", remedy="give a folder with talking videos, one face each"
        )
    return sources


def _read_manifest(folder: Path) -> list[Source]:
    with open(folder / MANIFEST, newline="", encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f) if r.get("split") != "audio"]
    return [
        Source(
            folder / r["file"],
            r["speaker"],
            split=r.get("split") or "train",
            licence_class=r.get("licence_class") or "unstated",
            licence=r.get("licence") or "",
            origin=r.get("source_repo") or "",
            sync=r.get("sync") or "",
        )
        for r in rows
    ]


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, through links too: data often lies on another disk."""
    for place, _, names in os.walk(folder, followlinks=True):
        yield from (Path(place) / name for name in names)


def load(
    sources: Sequence[Source],
    *,
    backend: Callable[[], tracking.Backend] = MeshBySize,
    cache: PathLike | None = None,
    workers: int = 1,
    embedding: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Track all videos, or take them from the cache.

    Parameters
    ----------
    sources : sequence of Source
    backend : callable
        Makes a tracking backend; called once per worker.
    cache : path, optional
        Default: `training` in heygem's own cache.
    workers : int
        Videos read at once.
    embedding : str, optional
        Projection of the speech embedding in the features; None: none.
    progress : callable, optional
        `progress("track", clips_done, clips_total)`.

    Returns
    -------
    Dataset
    """
    folder = Path(cache) if cache is not None else assets.home() / "training"
    folder.mkdir(parents=True, exist_ok=True)
    backends: dict[int, tracking.Backend] = {}

    def load_one(source: Source) -> Clip | str:
        thread = threading.get_ident()
        try:
            sha256 = files.sha256(source.path)
            stored = folder / f"{sha256[:32]}-{CACHE_VERSION}.npz"
            clip = _read_cached(stored, source, sha256)
            if clip is None:
                if thread not in backends:
                    backends[thread] = backend()
                clip = read(source, backends[thread], sha256=sha256)
                _write_cached(stored, clip)
            return clip if embedding is None else _append_embedding(clip, folder, embedding)
        except (HeygemError, OSError) as error:
            return str(error)

    dataset = Dataset([])
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        for i, (source, result) in enumerate(
            zip(sources, pool.map(load_one, sources), strict=True)
        ):
            if isinstance(result, Clip):
                dataset.clips.append(result)
            else:
                dataset.skipped[source.path.name] = result
                log.warning("left out: %s: %s", source.path.name, result)
            if progress is not None:
                progress("track", i + 1, len(sources))
    return dataset


def read(source: Source, backend: tracking.Backend, *, sha256: str = "") -> Clip:
    """Track one video and compute its audio features.

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


def _append_embedding(clip: Clip, folder: Path, projection: str) -> Clip:
    """The clip with the speech embedding, from the cache if it is there.

    Clips that are trained on get that of their sound in other rooms, noise and voices too.
    """
    model = PROJECTIONS[projection].asset.sha256
    is_trained_on = clip.source.split == "train"
    kind = f"augmented{AUGMENTED}" if is_trained_on else "plain"
    stored = folder / f"{clip.sha256[:32]}-{model[:16]}-{EMBEDDING_VERSION}-{kind}.npy"
    try:
        embeddings = np.load(stored)
    except Exception:  # missing, or damaged: headers raise TokenError and more
        samples = audio.load(clip.source.path).samples
        embeddings = embeddings_for_training(
            samples,
            rows=len(clip.features),
            augmented=AUGMENTED if is_trained_on else 0,
            seed=int(clip.sha256[:8], 16),
            projection=projection,
        )
        with files.replacing(stored, mode=0o600, durable=False) as staged, staged.open("wb") as f:
            np.save(f, embeddings)
    features = np.concatenate([clip.features, embeddings[0].astype(np.float32)], 1)
    return replace(clip, features=features, augmented_embeddings=embeddings[1:])


def _write_cached(stored: Path, clip: Clip) -> None:
    with files.replacing(stored, mode=0o600, durable=False) as staged, staged.open("wb") as f:
        np.savez(  # under the names of the first version, so that older caches can be read
            f,
            heard=clip.features.astype(np.float16),
            voice=clip.voice.astype(np.float16),
            moved=clip.displacement.astype(np.float16),  # precise to 0.05 %
            valid=clip.valid,
            eye_px=clip.iod_px,
        )


def _read_cached(stored: Path, source: Source, sha256: str) -> Clip | None:
    try:
        with np.load(stored) as z:
            if z["moved"].shape[1] != len(LOWER):
                return None
            return Clip(
                source,
                sha256,
                features=z["heard"].astype(np.float32),
                voice=z["voice"].astype(np.float32),
                displacement=z["moved"].astype(np.float32),
                valid=z["valid"],
                iod_px=float(z["eye_px"]),
            )
    except Exception:  # damaged: headers raise whatever NumPy and zip have, as TokenError
        return None
