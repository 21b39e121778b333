"""Memory of this machine, container and process; processes that the kernel ended for want of it."""

import contextlib
import ctypes
import gc
from pathlib import Path

import psutil

_M_ARENA_MAX = -8  # <malloc.h>


def available_memory() -> tuple[int, int]:
    """Bytes of memory that are free for this process, and in all; those of its container if any."""
    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        reclaimable = _field(folder / "memory.stat", "inactive_file")
    except (OSError, ValueError):
        return free, total
    if limit == "max":
        return free, total
    return min(free, int(limit) - used + reclaimable), min(total, int(limit))


def limit_arenas() -> None:
    """Let all threads of this process share two heaps, where the C library has more (glibc).

    By default each thread may get one of its own, up to eight for each core, and every one of them
    keeps as much free memory as its busiest thread ever needed. Threads that decode, draw and
    encode for a while and are replaced by others fill one after the other: at 1080p 170 MiB.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 2)


def release_unused() -> None:
    """Give memory that this process has freed back to the system, where the C library can (glibc).

    Otherwise the library keeps what lies between blocks that are in use, and a process that lives
    for weeks grows with each piece of work although nothing of it remains.
    """
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """As `release_unused`, without the search for garbage, which takes a tenth of a second."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def oom_kills() -> int:
    """How often the kernel has ended a process for want of memory, since the machine's start.

    0 where the system does not say. Compare the number before an item with that after it.
    """
    for path in (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat")):
        try:
            count = _field(path, "oom_kill")
        except (OSError, ValueError):
            continue
        if count:
            return count
    return 0


def _field(path: Path, name: str) -> int:
    """The number behind a name in a file of such lines, as the kernel writes them."""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise ValueError(f"{path} has no {name}")
