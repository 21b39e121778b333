"""The worker's end of the process that makes items: starts it, talks to it, ends it."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from heygem.batch.queue.job import Job
from heygem.batch.queue.recorded_batches import EndedBatch

_MAX_LOG_BYTES = 4 << 20


class Child:
    """A process in a group of its own, which carries out orders; see `item_process`.

    Parameters
    ----------
    make : str
        `module:function` that makes an item.
    log_path : Path
        Receives what the process and its libraries print, such as the last words of a crash.
    """

    def __init__(self, make: str, *, log_path: Path) -> None:
        reading, writing = os.pipe()
        try:
            with open_log(log_path) as log:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "heygem.batch.workers.item_process"),
                        *(make, str(writing), str(os.getpid())),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=[writing],
                    start_new_session=True,  # its own group, which is ended as a whole
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._has_ended = threading.Event()
        self._was_killed = False
        arguments = (os.fdopen(reading, encoding="utf-8"),)
        threading.Thread(target=self._read, args=arguments, daemon=True).start()

    def order(self, order: str, job: Job | None = None, *, ended: EndedBatch | None = None) -> None:
        """Give an order: "make" or "room" with a job, "end" with a batch, "cancel", or "stop".

        After "stop" the item continues later. A dead process ignores all of them.
        """
        content = {"order": order, "job": job and job._asdict(), "ended": ended}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write((json.dumps(content) + "\n").encode())
            self._process.stdin.flush()

    def receive(self, *, timeout_s: float) -> dict[str, Any] | None:
        """The next message; None where none comes, or the process is dead."""
        try:
            return self._messages.get(timeout=0 if self._has_ended.is_set() else timeout_s)
        except queue.Empty:
            return None

    def is_alive(self) -> bool:
        """Whether it runs, or has messages that were not received yet; False after `kill`."""
        return not (self._was_killed or (self._has_ended.is_set() and self._messages.empty()))

    def wait(self) -> int:
        """Exit status of a process that has ended; negative: the signal that ended it."""
        return self._process.wait()

    def kill(self) -> None:
        """End it, and every process that it has started; what it has not said yet is lost."""
        self._was_killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._has_ended.wait(5.0)
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with contextlib.suppress(ValueError):  # cut off by its death
                    self._messages.put(json.loads(line))
        self._has_ended.set()


def open_log(path: Path) -> IO[bytes]:
    """The log, opened for appending; a long one makes room first. Without it, nothing is kept."""
    try:
        if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
            os.replace(path, path.with_name(f"{path.name}.1"))
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb")
    except OSError:
        return open(os.devnull, "wb")
