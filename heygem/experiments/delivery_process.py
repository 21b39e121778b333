"""Delivery to MLflow by a process of its own.

MLflow takes two seconds of processor time to import, and Python's global lock for most of them, so
that a thread that imports it holds up those that draw frames. Another process does not: it uses the
time that the video leaves over, and its memory is its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from heygem.core.logs import start_log
from heygem.experiments import delivery
from heygem.experiments.recorder import Recorder
from heygem.experiments.spool import Spool

NICE = 10  # frames come first
POLL_S = 0.2  # how often it is asked whether to stop
EXIT_TIMEOUT_S = 1.0


class RemoteRecorder:
    """A `Recorder` in another process; to be used by one thread. Arguments as there."""

    def __init__(self, folder: Path, spool: Spool, *, answered: Callable[[float], None]) -> None:
        self._spool, self._answered = spool, answered
        self._sent = 0  # records that the other process has
        self._connection, theirs = Pipe()
        with theirs:
            # -P: what lies in the working folder is not imported.
            command = [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), str(folder)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def load(self) -> None:
        """See `Recorder.load`."""
        self._call("load")

    def deliver_all(self) -> None:
        """See `Recorder.deliver_all`."""
        records = self._spool.records[self._sent :]
        self._sent += len(records)
        self._call("deliver_all", records)

    def watch(self, run_id: str, *, loads: bool) -> str:
        """See `Recorder.watch`."""
        return str(self._call("watch", run_id, loads=loads))

    def stop_watching(self) -> None:
        """See `Recorder.stop_watching`."""
        self._call("stop_watching")

    def deliver_pending(self, stop: Callable[[], bool]) -> None:
        """See `Recorder.deliver_pending`."""
        self._call("deliver_pending", stop=stop)

    def close(self) -> None:
        """End the other process, whatever it is doing."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_TIMEOUT_S)

    def _call(
        self, name: str, *arguments: Any, stop: Callable[[], bool] = lambda: False, **more: Any
    ) -> Any:
        self._connection.send((name, arguments, more))
        while True:
            while not self._connection.poll(POLL_S):
                if stop():
                    self._connection.send(None)
                    stop = lambda: False  # noqa: E731
            kind, value = self._connection.recv()
            if kind == "answered":
                self._answered(value)
            elif kind == "line":
                self._spool.note(value)
            elif kind == "failed":
                raise RuntimeError(value)
            else:
                return value


class _RemoteSpool(Spool):
    """The records as far as they have come; their marks are for the process that has the file."""

    def __init__(self, connection: Connection) -> None:
        self.records, self.delivered = [], {}
        self._connection = connection

    def _write(self, line: dict[str, Any]) -> None:
        self._connection.send(("line", line))


def _serve(connection: Connection, folder: Path) -> None:
    spool = _RemoteSpool(connection)
    recorder = Recorder(
        folder, spool, answered=lambda seconds: connection.send(("answered", seconds))
    )
    while True:
        message = connection.recv()
        if message is None:  # to stop what was finished meanwhile
            continue
        name, arguments, more = message
        try:
            if name == "deliver_all":
                spool.records += arguments[0]
                arguments = ()
            elif name == "deliver_pending":
                arguments = (connection.poll,)
            value = getattr(recorder, name)(*arguments, **more)
        except Exception as error:
            connection.send(("failed", delivery.describe(error)))
        else:
            connection.send(("done", value))


def main() -> None:
    """The other process: `python -m ... DESCRIPTOR FOLDER`."""
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; who waits for it decides
    start_log()
    with contextlib.suppress(EOFError, OSError):  # the other end has gone
        _serve(Connection(int(sys.argv[1])), Path(sys.argv[2]))
    os._exit(0)  # without the threads that MLflow waits for


if __name__ == "__main__":
    main()
