"""What an item needs of the machine, and whether it may start: disk, memory, GPU.

Looked at before an item, so that it waits or takes less instead of failing half way. The estimates
are fitted to measurements (`benchmarks/needs.py`) and carry a margin; memory that runs out all the
same is recognised by `is_out_of_memory`, and `heygem.batch.queue.retry` says what follows. Limits
on length and resolution are `heygem.pipeline.preflight.check_limits`, which every item meets.
"""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from heygem import media
from heygem.avatar.library import LIBRARY_BYTES, LIBRARY_FRAMES
from heygem.config.params import Params
from heygem.core import disk, gpu
from heygem.core.errors import DiskFullError, HeygemError, OutOfMemoryError
from heygem.core.folders import avatar_folder
from heygem.core.memory import available_memory
from heygem.core.types import PathLike
from heygem.pipeline.encoding import BATCH_ON_GPU

if TYPE_CHECKING:
    from heygem.batch.queue.job import Job

SPACE_MARGIN = 2.0  # results vary by twice around the estimate at one crf, with grain and motion
RESERVE_BYTES = 256 << 20  # left free on every disk: ledger, logs, MLflow, other programs
RESERVE_SHARE = 20  # ... but not more than a twentieth of a small disk
MEMORY_MARGIN = 1.25
LETTERS_PER_S = 14.0  # of spoken text
BITS_PER_PIXEL = 0.09  # of one frame at crf 18: talking heads take 0.045 to 0.13
CRF_HALVING = 6.0  # x264: six steps more halve the file
SOUND_BYTES_PER_S = 24_000  # AAC in stereo
TRACK_BYTES_PER_FRAME = 6_500  # of a tracked avatar in the cache: 468 points and their facts
CROP_BYTES_PER_PIXEL = 0.5  # of its mouth images, for each frame and pixel of the video
WORKING_COPIES = 3  # segments, the joined file, and its signed copy
BASE_BYTES = 750 << 20  # of a process with its models
PIXEL_BYTES = 300  # of memory for each pixel of a frame: decoder, encoder, mouth images
FRAME_BYTES = 2 * 3  # for each pixel and frame of the batch size: two queues of RGB frames
GPU_BASE_BYTES = 900 << 20  # CUDA and the networks; from their sizes, with room: not measured
GPU_FRAME_BYTES = 40 << 20  # of one mouth: activations of a network, or its pixels; likewise
GPU_LABEL_BYTES = 24  # for each pixel of a frame that is labelled: a few float32 planes; likewise

Action = Literal["start", "wait", "smaller batch", "cpu", "refuse"]


class Work(Protocol):
    """What is looked at: a `heygem.batch.items.Item`, or a job of the queue."""

    @property
    def video(self) -> PathLike:
        """The person."""

    @property
    def output(self) -> PathLike:
        """The result, or its folder."""

    @property
    def params(self) -> Params:
        """Recipe of this one item."""


@dataclass(frozen=True)
class Need:
    """What one item needs.

    Attributes
    ----------
    duration_s : float
    width, height : int
        Of the picture.
    output_bytes : int
        Of the result.
    working_bytes : int
        Beside the result while it is made, the result included.
    cache_bytes, temp_bytes : int
        In the folder of avatars, and in the temporary folder.
    memory_bytes, gpu_bytes : int
        At the peak; 0 of the GPU where none is used.
    """

    duration_s: float
    width: int
    height: int
    output_bytes: int
    working_bytes: int
    cache_bytes: int
    temp_bytes: int
    memory_bytes: int
    gpu_bytes: int


@dataclass(frozen=True)
class Verdict:
    """Whether an item may start.

    Attributes
    ----------
    action : str
        "start"; "wait": look again later; "smaller batch", "cpu": start with `changes`;
        "refuse": it will never fit.
    error : HeygemError or None
        What is short, how much of it, where, and what to do; None with "start".
    missing_bytes : int
    changes : dict
        For `Params.override`.
    """

    action: Action
    error: HeygemError | None = None
    missing_bytes: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether the item may start now, perhaps with `changes`."""
        return self.action in ("start", "smaller batch", "cpu")


START = Verdict("start")


def need_of(work: Work) -> Need:
    """What an item needs, from the lengths and sizes of its inputs and its settings.

    Raises
    ------
    InputError
        The video or the sound cannot be read.
    """
    params = work.params
    info = media.probe(work.video).video
    width, height = (0, 0) if info is None else (info.width, info.height)
    rate = 25.0 if info is None or info.is_still else float(info.rate)
    source_s = 0.0 if info is None or info.is_still else info.duration_s
    duration_s = speech_s(params)
    if params.media.tail == "keep":
        duration_s = max(duration_s, source_s)
    pixels, frames = width * height, max(1.0, duration_s * rate)
    bits = BITS_PER_PIXEL * 2 ** ((18 - params.media.crf) / CRF_HALVING)
    output = int(pixels * frames * bits / 8 + duration_s * SOUND_BYTES_PER_S)
    source_frames = max(1.0, source_s * rate)
    crops = CROP_BYTES_PER_PIXEL * pixels * min(source_frames, LIBRARY_FRAMES)
    spoken_here = params.inputs.text is not None
    return Need(
        duration_s,
        width,
        height,
        output,
        WORKING_COPIES * output,
        int(TRACK_BYTES_PER_FRAME * source_frames + min(LIBRARY_BYTES, crops)),
        int(duration_s * 48_000 * 2) if spoken_here else 0,
        memory_bytes(pixels, params.resources.batch_size, on_gpu=_uses_gpu(params)),
        gpu_bytes(params, pixels),
    )


def speech_s(params: Params) -> float:
    """Length of an item's speech [s]: of its sound, or about that of its text."""
    inputs = params.inputs
    if inputs.audio is None:
        return len(inputs.text or "") / LETTERS_PER_S
    return float(media.probe(inputs.audio).duration_s or 0.0)


def memory_bytes(pixels: int, batch_size: int, *, on_gpu: bool = False) -> int:
    """Peak memory of a process that makes frames of so many pixels."""
    frames = batch_size * (1 + (BATCH_ON_GPU if on_gpu else 0))
    return BASE_BYTES + int(pixels * (PIXEL_BYTES + FRAME_BYTES * frames))


def gpu_bytes(params: Params, pixels: int, *, batch_size: int | None = None) -> int:
    """Peak memory on the GPU for frames of so many pixels; 0 where the item uses none."""
    if not _uses_gpu(params):
        return 0
    size = batch_size or params.resources.batch_size
    each = BATCH_ON_GPU * GPU_FRAME_BYTES + GPU_LABEL_BYTES * pixels
    return GPU_BASE_BYTES + size * each


def room_for(works: Iterable[Work], *, workers: int = 1) -> Verdict:
    """Whether the disks have room for the results of items, and for what is made beside them.

    Results add up; the working files count for as many items as are made at once. Output, cache
    and temporary folder may share a disk: their needs are then added.

    Parameters
    ----------
    works : iterable
        Items that are not made yet; one whose files cannot be read counts as nothing.
    workers : int
        Items made at once.

    Returns
    -------
    Verdict
        "start", or "wait" with a `DiskFullError` of the disk that lacks most.
    """
    outputs: dict[Path, list[Need]] = {}
    for work in works:
        try:
            need = need_of(work)
        except HeygemError:  # the item itself will say so
            continue
        outputs.setdefault(_folder_of(work.output), []).append(need)
    needs = [need for group in outputs.values() for need in group]
    needed: dict[int, tuple[Path, float]] = {}  # by device

    def add(folder: Path, count: float) -> None:
        device = _device(folder)
        first, before = needed.get(device, (folder, 0.0))
        needed[device] = first, before + count

    for folder, group in outputs.items():
        beside = sorted((n.working_bytes - n.output_bytes for n in group), reverse=True)
        add(folder, sum(n.output_bytes for n in group) + sum(beside[:workers]))
    add(avatar_folder(), max((n.cache_bytes for n in needs), default=0))
    temporary = sorted((n.temp_bytes for n in needs), reverse=True)
    add(Path(tempfile.gettempdir()), sum(temporary[:workers]))
    verdicts = [_disk_verdict(folder, SPACE_MARGIN * count) for folder, count in needed.values()]
    return max(verdicts, key=lambda verdict: verdict.missing_bytes, default=START)


def _disk_verdict(folder: Path, count: float) -> Verdict:
    free, total = disk.usage(folder)
    reserve = min(RESERVE_BYTES, total // RESERVE_SHARE)
    missing = int(count) + reserve - free if count else 0
    if missing <= 0:
        return START
    error = DiskFullError(
        f"the disk has too little room: about {disk.format_size(missing)} more are needed",
        seen=f"{disk.describe_disk(folder)}, {disk.format_size(int(count))} estimated, "
        f"{disk.format_size(reserve)} stay free",
        remedy="free some space; the work resumes by itself",
    )
    return Verdict("wait", error, missing)


def require_room(work: Work, folder: Path) -> None:
    """Refuse an item whose finished result would not fit into the folder that it is copied to.

    Raises
    ------
    DiskFullError
    """
    try:
        need = need_of(work)
    except HeygemError:  # the item itself will say so
        return
    verdict = _disk_verdict(folder, SPACE_MARGIN * need.output_bytes)
    if verdict.error is not None:
        raise verdict.error


def has_room(job: "Job") -> bool:
    """Whether the disks have room for a job's item, as far as that can be known before it."""
    try:
        return bool(room_for([job.item()]))
    except (HeygemError, OSError):
        return True  # the item itself will say what is wrong


def memory_for(work: Work) -> Verdict:
    """Whether memory and GPU memory suffice for an item, as it is or with less at once.

    Returns
    -------
    Verdict
        "start"; "smaller batch" or "cpu" with `changes`; "wait" where other programs use what it
        needs; "refuse" where the machine has too little.
    """
    need, params = need_of(work), work.params
    free, total = available_memory()
    sizes = _halvings(params.resources.batch_size)
    pixels = need.width * need.height
    on_gpu = bool(need.gpu_bytes)

    def needed(size: int) -> int:
        return int(MEMORY_MARGIN * memory_bytes(pixels, size, on_gpu=on_gpu))

    fitting = [size for size in sizes if needed(size) <= free]
    if not fitting:
        least = needed(1)
        return _short_of("memory", least, free, total, "use a smaller video")
    changes: dict[str, Any] = {}
    action: Action = "start"
    if fitting[0] != params.resources.batch_size:
        action, changes = "smaller batch", {"resources.batch_size": fitting[0]}
    if need.gpu_bytes:
        verdict = _gpu_verdict(params, pixels, fitting)
        action = verdict.action if verdict.action != "start" else action
        return Verdict(action, verdict.error, verdict.missing_bytes, changes | verdict.changes)
    return Verdict(action, changes=changes)


def _gpu_verdict(params: Params, pixels: int, sizes: list[int]) -> Verdict:
    import torch

    free, total = torch.cuda.mem_get_info()
    fitting = [s for s in sizes if MEMORY_MARGIN * gpu_bytes(params, pixels, batch_size=s) <= free]
    if fitting:
        if fitting[0] == params.resources.batch_size:
            return START
        return Verdict("smaller batch", changes={"resources.batch_size": fitting[0]})
    if params.device == "auto":
        return Verdict("cpu", changes={"device": "cpu"})
    least = int(MEMORY_MARGIN * gpu_bytes(params, pixels, batch_size=1))
    return _short_of("GPU memory", least, free, total, "use device: cpu")


def _short_of(what: str, needed: int, free: int, total: int, remedy: str) -> Verdict:
    action: Action = "wait" if needed <= total else "refuse"
    error = OutOfMemoryError(
        f"{what} is short: about {disk.format_size(needed)} are needed",
        seen=f"{disk.format_size(free)} of {disk.format_size(total)} free",
        remedy="close other programs; the work resumes by itself" if action == "wait" else remedy,
    )
    return Verdict(action, error, max(needed - free, 0))


_MEMORY_TEXTS = (
    "out of memory",  # CUDA, and PyTorch's allocator on the CPU
    "not enough memory",  # PyTorch's DefaultCPUAllocator
    "can't allocate memory",
    "cannot allocate memory",  # ENOMEM
    "insufficient memory",  # OpenCV, error -4
    "failed to allocate",
    "std::bad_alloc",
    "cublas_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or one it was raised from, says that memory ran out."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError | OutOfMemoryError):
            return True
        # Of libraries, several of which have no class of their own for it.
        if isinstance(cause, OSError | RuntimeError | ValueError) or _module(cause) in _LIBRARIES:
            text = str(cause).lower()
            if any(part in text for part in _MEMORY_TEXTS):
                return True
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False


_LIBRARIES = ("torch", "cv2", "av")


def _module(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def as_memory_error(error: BaseException, name: str) -> OutOfMemoryError:
    """The error of an item for which memory ran out, in plain words."""
    return OutOfMemoryError(
        f"memory ran out while {name} was made",
        seen=" ".join(str(error).split())[:200] or type(error).__name__,
        remedy="close other programs, or use a smaller video or a lower resources.batch_size",
    )


def _uses_gpu(params: Params) -> bool:
    if params.device == "cpu":
        return False
    return gpu.has_cuda()


def _halvings(size: int) -> list[int]:
    sizes = [size]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return sizes


def _folder_of(output: PathLike) -> Path:
    path = Path(output)
    return path.parent if path.suffix else path


def _device(folder: Path) -> int:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.stat(folder).st_dev
