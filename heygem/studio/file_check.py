"""A quick look at a file the moment it is chosen: can it be used, and how well?

Half a second for each file instead of a failed job an hour later. A video is judged by a few of its
frames, a sound as a whole. Every frame is examined once the work itself begins.
"""

import functools
import html
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ipywidgets as w
import numpy as np

from heygem import audio, media
from heygem.avatar.report import MAX_TILT_DEG, MIN_FACE_PX
from heygem.batch.input_files import Kind
from heygem.config.params import FaceSettings
from heygem.core import logs
from heygem.core.errors import HeygemError, InputError
from heygem.core.findings import Finding
from heygem.core.i18n import Translate, language_of
from heygem.core.types import FloatArray, Image, PathLike
from heygem.face.backends import MediaPipeBackend, make_backend
from heygem.face.fan68 import AlignmentBackend
from heygem.face.pose import fit_pose, tilt_deg
from heygem.face.tracking import MIN_SCORE
from heygem.studio.status import error_line

FRAMES = 6  # of a video that are looked at
TAIL_S = 0.6  # before its declared end, where the last one is taken
SHORTEST_S = 1.0
SIZE_TOLERANCE = 0.95  # a few frames do not give the width of the face to the pixel
_SECONDS_READ = 5 * 60.0  # of a longer sound only the length is shown
_pool = ThreadPoolExecutor(2, thread_name_prefix="heygem-check")
_face_lock = threading.Lock()  # the face models take one picture at a time

Level = Literal["good", "warning", "unusable"]


@dataclass(frozen=True)
class Verdict:
    """What a quick look at a file says.

    Attributes
    ----------
    level : {"good", "warning", "unusable"}
    facts : str
        Length, size and face, in the language that was asked for.
    problems : tuple of str
    """

    level: Level
    facts: str
    problems: tuple[str, ...] = ()


def check_file(path: PathLike, kind: Kind, translate: Translate) -> Verdict:
    """Judge a file; the same file is looked at once.

    Parameters
    ----------
    path : path
    kind : {"audio", "video"}
        What it shall be used as.
    translate : callable
        Gives the language of the verdict, too.
    """
    lang = language_of(translate)
    try:
        status = Path(path).stat()
        findings, facts = _examine(str(path), kind, status.st_mtime_ns, status.st_size)
    except HeygemError as error:
        # Its name stands before the verdict; the folder says nothing about the file.
        line = error_line(error, translate).replace(f"{Path(path).parent}{os.sep}", "")
        return Verdict("unusable", "", (line,))
    except OSError as error:
        return Verdict("unusable", "", (error.strerror or str(error),))
    lines = [translate(key, **values) for key, values in facts]
    notable = [finding for finding in findings if finding.level != "info"]
    level: Level = "good"
    if notable:
        level = "unusable" if any(f.level == "error" for f in notable) else "warning"
    return Verdict(level, " · ".join(lines), tuple(f.text(lang) for f in notable))


def check_soon(path: PathLike, kind: Kind, translate: Translate) -> Future[Verdict]:
    """`check_file`, on a thread that the files chosen on all pages share."""
    return _pool.submit(check_file, path, kind, translate)


Facts = list[tuple[str, dict[str, float]]]


@functools.lru_cache(maxsize=512)
def _examine(path: str, kind: Kind, _modified_ns: int, _size: int) -> tuple[list[Finding], Facts]:
    """Findings, and facts as phrases of the interface with their values."""
    if Path(path).is_dir():
        return [], [("check_bundle", {})]
    info = media.probe(path)
    return _examine_sound(info) if kind == "audio" else _examine_video(info)


def _examine_sound(info: media.MediaInfo) -> tuple[list[Finding], Facts]:
    if info.audio is None:
        raise InputError("holds no sound", seen=info.path.name)
    facts: Facts = [("check_seconds", {"seconds": info.duration_s})]
    if info.duration_s > _SECONDS_READ:
        return [], facts
    speech = audio.load(info.path)
    voice = audio.voice_activity(speech.samples)
    facts.append(
        ("check_speech", {"share": float((voice > audio.IS_SPEECH).mean()) if len(voice) else 0.0})
    )
    return audio.check(speech), facts


def _examine_video(info: media.MediaInfo) -> tuple[list[Finding], Facts]:
    if info.video is None:
        raise InputError("holds no picture", seen=info.path.name)
    video = info.video
    facts: Facts = [("check_size", {"width": video.width, "height": video.height})]
    findings = []
    if not video.is_still:
        facts.append(("check_seconds", {"seconds": video.duration_s}))
        if video.duration_s < SHORTEST_S:
            findings.append(Finding("warning", "VIDEO_SHORT", {"seconds": video.duration_s}))
    images = _sample_frames(info)
    with _face_lock, logs.quiet_libraries():
        meshes, most = _faces(images)
    if not len(meshes):
        return [*findings, Finding("error", "NO_FACE")], facts
    outline = meshes[..., :2]
    face_px = float(np.median((outline.max(1) - outline.min(1))[:, 0]))
    facts.append(("check_face", {"face_px": face_px, "share": len(meshes) / len(images)}))
    settings = FaceSettings()
    if face_px < SIZE_TOLERANCE * settings.min_face_px:  # a job would fail
        width = {"face_px": face_px, "min_face_px": settings.min_face_px}
        findings.append(Finding("error", "FACE_TOO_SMALL", width))
    elif face_px < MIN_FACE_PX:
        findings.append(Finding("warning", "FACE_SMALL", {"face_px": face_px}))
    if most > 1:
        findings.append(Finding("warning", "SEVERAL_FACES", {"faces": most}))
    yaw_deg = np.abs(fit_pose(meshes, sigma_frames=0.01)[0].angles_deg[:, 0])
    turned = (yaw_deg > settings.max_turn_deg).mean() + 1 - len(meshes) / len(images)
    if turned > 0.5:
        findings.append(Finding("warning", "TURNED_AWAY"))
    tilt = float(np.median(tilt_deg(outline)))
    if tilt > MAX_TILT_DEG:
        findings.append(Finding("warning", "NOT_UPRIGHT", {"degrees": tilt}))
    return findings, facts


def _sample_frames(info: media.MediaInfo) -> list[Image]:
    """Frames spread over a video.

    Raises
    ------
    InputError
        It ends before its declared end.
    """
    assert info.video is not None
    if info.video.is_still:
        starts_s = [0.0]
    else:
        last_s = max(0.0, info.video.duration_s - TAIL_S)
        starts_s = [float(s) for s in np.linspace(0, last_s, FRAMES)]
    images = []
    for start_s in starts_s:
        with media.VideoReader(info.path, start_s=start_s) as reader:
            frame = next(iter(reader), None)
        if frame is None:
            raise InputError(
                "ends before its header says: it is cut short",
                seen=f"no picture after {start_s:.1f} s of {info.video.duration_s:.1f} s",
                remedy="copy or download it again",
            )
        images.append(frame.image)
    return images


@functools.cache
def _backend() -> MediaPipeBackend | AlignmentBackend:
    return make_backend(FaceSettings())


def _faces(images: Iterable[Image]) -> tuple[FloatArray, int]:
    """Mesh of the main face of each image that has one : [n, 468, 3], and the most faces in one."""
    meshes, most = [], 0
    for image in images:
        regions = _backend().detect(image)
        most = max(most, len(regions))
        if regions:
            mesh, score = _backend().mesh(image, regions[0])
            if score >= MIN_SCORE:
                meshes.append(mesh)
    return np.array(meshes, np.float32).reshape(-1, 468, 3), most


_MARKS = {"good": "✓", "warning": "⚠", "unusable": "✗"}


class FileVerdicts(w.HTML):
    """A line for each chosen file: its verdict, as soon as it is known.

    Parameters
    ----------
    kind : {"audio", "video"}
    translate : callable

    Attributes
    ----------
    wait : callable
        Called before a file is looked at; returns once the page has nothing more urgent to do.
    """

    def __init__(self, kind: Kind, translate: Translate) -> None:
        super().__init__()
        self._kind, self._translate = kind, translate
        self.wait: Callable[[], object] = lambda: None
        self._lock = threading.Lock()
        self._paths: tuple[str, ...] = ()
        self._verdicts: dict[str, Verdict] = {}
        self.idle = threading.Event()  # nothing is being looked at
        self.idle.set()

    def show(self, paths: Iterable[PathLike]) -> None:
        """Look at these files, two at a time, and show what they are good for."""
        with self._lock:
            self._paths = tuple(str(path) for path in paths)
            self._verdicts = {}
            (self.idle.clear if self._paths else self.idle.set)()
        self._draw()
        for path in self._paths:
            _pool.submit(self._look, path, self._paths)

    def _look(self, path: str, asked: tuple[str, ...]) -> None:
        self.wait()
        if asked != self._paths:
            return  # others were chosen meanwhile
        verdict = check_file(path, self._kind, self._translate)
        with self._lock:
            if asked != self._paths:
                return
            self._verdicts[path] = verdict
            is_last = len(self._verdicts) == len(set(asked))
        self._draw()
        if is_last:
            self.idle.set()

    def _draw(self) -> None:
        lines = []
        for path in dict.fromkeys(self._paths):
            name, verdict = html.escape(Path(path).name), self._verdicts.get(path)
            if verdict is None:
                checking = html.escape(self._translate("checking"))
                lines.append(f'<li><span aria-hidden="true">…</span> {name}: {checking}</li>')
                continue
            parts = [part for part in (verdict.facts, *verdict.problems) if part]
            role = ' role="alert"' if verdict.level == "unusable" else ""
            text = html.escape(" · ".join(parts))
            level = html.escape(self._translate("level_" + verdict.level))
            lines.append(
                f'<li class="hg-{verdict.level}"><span{role}><b>{_MARKS[verdict.level]} {name}</b> '
                f"({level}): {text}</span></li>"
            )
        self.value = f'<ul class="hg-verdicts">{"".join(lines)}</ul>' if lines else ""
