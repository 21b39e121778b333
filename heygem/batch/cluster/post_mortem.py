"""Why an actor's process has ended, which Ray does not say: asked of its node.

A crash (a fatal signal of the process itself) leaves a trace in a file of the node. SIGKILL leaves
none; it comes from outside: from the kernel where memory runs out, which counts what it kills, or
else from somebody who says nothing against the item.
"""

import contextlib
import faulthandler
import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from heygem.core.folders import make_private_folder
from heygem.core.memory import oom_kills

PROBE_S = 10.0  # for an answer of the node
_KEPT_S = 24 * 3600.0  # traces that nobody has asked for
_FIRST_BYTES = 4000  # of a trace: the signal, and the calls that led to it


class Evidence(NamedTuple):
    """What a node says about a process that has ended.

    Attributes
    ----------
    crash : str
        The fatal signal in words; empty without one.
    oom_kills : int
        See `heygem.core.memory.oom_kills`.
    """

    crash: str
    oom_kills: int


def record_crashes(folder: Path) -> Path:
    """Have fatal signals of this process write a trace; returns where.

    Parameters
    ----------
    folder : path
        Private to this user, on this node; its old traces are removed.
    """
    make_private_folder(folder)
    for trace in folder.glob("*.txt"):
        with contextlib.suppress(OSError):
            if time.time() - trace.stat().st_mtime > _KEPT_S:
                trace.unlink()
    path = folder / f"{socket.gethostname()}-{os.getpid()}.txt"
    stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    faulthandler.enable(stream)  # stays open as long as the process
    return path


def examine(node: str, trace: str) -> Evidence | None:
    """Ask a node; None where it does not answer.

    Parameters
    ----------
    node : str
        Its id.
    trace : str
        See `record_crashes`; the file is removed.
    """
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    probe = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(_look)
    try:
        return Evidence(*ray.get(probe.remote(trace), timeout=PROBE_S))
    except (ray.exceptions.RayError, TimeoutError):
        return None


def _look(trace: str) -> tuple[str, int]:
    text = ""
    with contextlib.suppress(OSError):
        text = Path(trace).read_text("utf-8", "replace")[:_FIRST_BYTES]
        Path(trace).unlink()
    crash = next((line for line in text.splitlines() if line.strip()), "")
    return crash.strip(), oom_kills()
