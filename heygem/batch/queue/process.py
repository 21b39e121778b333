"""Which process holds something, and whether it still runs; found out without a clock.

A process is named by its machine's boot, its process-id namespace (a container has its own), its
number, and the tick after boot at which it began. Setting the clock changes none of them.
"""

import functools
import json
import os
import platform
from pathlib import Path
from typing import Any

import psutil


def own_identity() -> dict[str, Any]:
    """The identity of this process, as plain values for a database."""
    return {**_place(), "pid": os.getpid(), "began": _began(os.getpid())}


def is_visible(process: dict[str, Any]) -> bool:
    """Whether a process, if it runs, can be seen from here: same boot, same namespace."""
    place = _place()
    return bool(process) and all(process.get(key) == value for key, value in place.items())


def is_running(process: dict[str, Any]) -> bool:
    """Whether a visible process still runs; a dead one whose parent has not looked does not."""
    began = _began(int(process["pid"]))
    return began is not None and began == process.get("began")


def describe(process: dict[str, Any]) -> str:
    """For a message: "process 4711 on studio-2"."""
    return f"process {process.get('pid', '?')} on {process.get('host', '?')}"


def boot_id() -> str:
    """The kernel's random name of this boot of the machine; empty on systems other than Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


@functools.cache
def _place() -> dict[str, str]:
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        namespace = ""
    return {"host": platform.node(), "boot": boot_id(), "namespace": namespace}


def _began(pid: int) -> float | None:
    """When a process began [ticks after boot; seconds where there is no /proc]; None if dead."""
    try:
        # The name of the program, in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else float(fields[19])
    except (OSError, IndexError, ValueError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        return round(psutil.Process(pid).create_time(), 1)
    except psutil.Error:
        return None


def parse(text: str) -> dict[str, Any]:
    """The identity in a row of a database; empty where there is none."""
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
