"""The process that makes the jobs of a line, one after the other, and stays for more.

Models are loaded for the first job and kept for the next ones. When nothing waits, the process
stands by for some minutes, so that the next job starts at once, then ends and gives its memory
back. A job that takes the process with it (no memory left, say) is tried once more, then left out.
"""

import contextlib
import fcntl
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from heygem.batch.queue import _CALL, _LEAVE, _WORKER_LOCK, JobQueue, _replace
from heygem.config.params import Params
from heygem.core.errors import Cancelled, HeygemError, InputError
from heygem.provenance import ledger

IDLE_S = 300.0  # how long the models stay in memory when nothing waits
PROGRESS_S = 0.3  # how often a running job writes how far it is
WATCH_S = 0.2  # how often it is looked whether a job is to stop, or a new one has come
PATIENCE_S = 2.0  # a page that only looks whether somebody is there holds the lock for a moment
STUBBORN_S = 0.8  # after which a step that does not stop is ended with its process
MAX_DEATHS = 2


class Worker:
    """Makes the jobs of a board in this process.

    Parameters
    ----------
    board : heygem.batch.queue.JobQueue
    make : callable, optional
        `make(params, progress, cancel) -> heygem.batch.runner.Outcome`; by default the same
        `heygem.batch.runner.run` that the command line uses, with models that stay.
    idle_s : float
        How long to stand by when nothing waits.
    own_process : bool
        Whether the process is there for this alone, and may be ended where a job does not stop.
    """

    def __init__(self, board, make=None, *, idle_s=IDLE_S, own_process=False):
        self.board = board
        self.idle_s = idle_s
        self.own_process = own_process
        self._make = make if make is not None else ModelCache()

    def run(self):
        """Work until nothing has waited for `idle_s`; returns where another process is at it."""
        board = self.board
        with board._locked():
            (board.folder / _CALL).touch()
        with open(board.folder / _WORKER_LOCK, "a+") as stream:
            if not _claimed(stream):
                return
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            self._pick_up()
            leave = board.folder / _LEAVE
            leave.unlink(missing_ok=True)
            idle_since = time.monotonic()
            while board.folder.is_dir():  # who throws the folder away wants nothing any more
                job = self._next()
                if job is not None:
                    self._one(job)
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= self.idle_s or leave.exists():
                    with board._locked():  # whoever calls now waits, and finds nobody here
                        leave.unlink(missing_ok=True)
                        if not board.called():
                            fcntl.flock(stream, fcntl.LOCK_UN)
                            return
                else:
                    time.sleep(WATCH_S)

    def _pick_up(self):
        """What a process that died has left running is made anew, but not for ever."""
        with self.board._locked():
            for path in self.board.folder.glob("*.job"):
                with contextlib.suppress(InputError):
                    job = self.board._get(path.stem)
                    if job.state != "running":
                        continue
                    changes = {"state": "waiting", "deaths": job.deaths + 1}
                    if job.deaths + 1 >= MAX_DEATHS:
                        error = HeygemError(
                            f"the process that made it ended {MAX_DEATHS} times without a word",
                            remedy="memory may be short: close other programs, or take a shorter "
                            "or smaller video, and try again",
                        )
                        changes |= {"state": "failed", "error": str(error), "reason": error.parts}
                    self.board._write(replace(job, **changes))

    def _next(self):
        board = self.board
        if not board.called():
            return None
        with board._locked():
            job = next((j for j in board.jobs() if j.state == "waiting"), None)
            if job is None:
                (board.folder / _CALL).unlink(missing_ok=True)
            else:
                (board.folder / f"{job.id}.cancel").unlink(missing_ok=True)
                job = replace(job, state="running", progress={})
                board._write(job)
            return job

    def _one(self, job):
        began, cancel, over = time.monotonic(), threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(job, cancel, over), daemon=True).start()
        try:
            with ledger.acting_as(job.user):
                outcome = self._make(Params.from_dict(job.params), self._teller(job), cancel)
            changes = {
                "state": {"skipped": "done"}.get(outcome.status, outcome.status),
                "output": str(outcome.output or ""),
                "error": outcome.error,
                "reason": outcome.reason,
                "warnings": tuple(outcome.warnings),
            }
        except Cancelled:
            changes = {"state": "cancelled"}
        except Exception as error:  # whatever it is, the others are still made
            reason = error.parts if isinstance(error, HeygemError) else {}
            changes = {"state": "failed", "error": " ".join(str(error).split()), "reason": reason}
        finally:
            over.set()
        seconds = round(time.monotonic() - began, 2)
        with self.board._locked():
            with contextlib.suppress(InputError):
                kept = self.board._get(job.id)
                self.board._write(replace(kept, seconds=seconds, **changes))
            for ending in ("progress", "cancel"):
                (self.board.folder / f"{job.id}.{ending}").unlink(missing_ok=True)

    def _watch(self, job, cancel, over):
        while not over.wait(WATCH_S):
            if (self.board.folder / f"{job.id}.cancel").exists():
                cancel.set()
                if self.own_process and not over.wait(STUBBORN_S):
                    self._abandon(job, over)
                return

    def _abandon(self, job, over):
        """A long step of a library does not look whether it is to stop: another process goes on."""
        board = self.board
        with board._locked():
            if over.is_set():
                return
            with contextlib.suppress(InputError):
                board._write(replace(board._get(job.id), state="cancelled"))
            for ending in ("progress", "cancel"):
                (board.folder / f"{job.id}.{ending}").unlink(missing_ok=True)
            board.send_for()
            os._exit(0)

    def _teller(self, job):
        path = self.board.folder / f"{job.id}.progress"
        started = time.monotonic()
        last = {"at": 0.0, "stage": "", "began": 0.0}

        def tell(_name, _number, _count, stage, done, total):
            now = time.monotonic()
            if stage != last["stage"]:
                last.update(stage=stage, began=now, at=0.0)
            if now - last["at"] < PROGRESS_S and done < total:
                return
            last["at"] = now
            left_s = (now - last["began"]) / done * (total - done) if done else 0.0
            content = {
                "stage": stage,
                "done": done,
                "total": total,
                "left_s": round(left_s, 1),
                "elapsed_s": round(now - started, 1),
            }
            with contextlib.suppress(OSError):
                _replace(path, content)

        return tell


def _claimed(stream):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)


class ModelCache:
    """Makes one job as `heygem batch` does, with the models of the job before where they fit."""

    def __init__(self):
        self._key = self._sound = self._models = None

    def __call__(self, params, progress, cancel):
        from heygem import pipeline
        from heygem.batch import runner

        key = _model_files(params)
        if key != self._key:
            self._key = self._models = None  # never two sets in memory
            progress("", 0, 1, "load models", 0, 1)
            self._models, self._key = pipeline.load_models(params), key
        inputs = params.inputs
        sound = _stamp(inputs.pairs[0].audio if inputs.pairs else inputs.audio)
        if sound is None or sound != self._sound:
            self._models.forget()
        self._sound = sound
        report = runner.run(params, progress=progress, cancel=cancel, models=self._models)
        (outcome,) = report.outcomes
        if outcome.status == "failed" and not outcome.bad_input:
            self._key = self._models = None  # what an unforeseen fault has left behind
        return outcome


def _model_files(params):
    """What decides whether models can be used again."""
    files = tuple(_stamp(path) for path in (params.lips.model, params.checkpoint))
    return params.device, params.engine, params.face, files


def _stamp(path):
    """A file as it is now: path, time of its last change, size."""
    if path is None:
        return None
    try:
        facts = os.stat(path)
    except OSError:
        return str(path), 0, 0
    return str(path), facts.st_mtime_ns, facts.st_size


if __name__ == "__main__":
    Worker(JobQueue(Path(sys.argv[1])), own_process=True).run()
