"""The process that makes the jobs of a queue, one after the other.

Models are loaded for the first job and kept for the next ones. An idle worker exits after some
minutes, which frees its memory. A job that kills the process (out of memory, for example) is
retried once, then fails.
"""

import contextlib
import fcntl
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from heygem.batch.folder_queue import (
    _RELEASE_REQUEST,
    _START_REQUEST,
    _WORKER_LOCK,
    JobQueue,
    _write_json,
)
from heygem.config.params import Params
from heygem.core.errors import Cancelled, HeygemError, InputError
from heygem.provenance import ledger

IDLE_S = 300.0  # how long an idle worker keeps its models in memory
PROGRESS_S = 0.3  # how often a running job writes its progress
POLL_S = 0.2  # how often to look for new jobs and for requests to cancel
LOCK_TIMEOUT_S = 2.0  # `JobQueue.worker_running` holds the lock for a moment
CANCEL_GRACE_S = 0.8  # a step that does not stop within this time is ended with its process
MAX_CRASHES = 2


class Worker:
    """Makes the jobs of a queue in this process.

    Parameters
    ----------
    queue : heygem.batch.folder_queue.JobQueue
    make : callable, optional
        `make(params, progress, cancel) -> heygem.batch.outcome.Outcome`; by default the same
        `heygem.batch.runner.run` as the command line, with the models kept in memory.
    idle_s : float
        How long to wait for a new job before `run` returns.
    own_process : bool
        Whether the process serves only this queue and may exit where a job does not stop.
    """

    def __init__(self, queue, make=None, *, idle_s=IDLE_S, own_process=False):
        self.queue = queue
        self.idle_s = idle_s
        self.own_process = own_process
        self._make = make if make is not None else ModelCache()

    def run(self):
        """Make jobs until idle for `idle_s`; returns at once where another worker is running."""
        queue = self.queue
        with queue._locked():
            (queue.folder / _START_REQUEST).touch()
        with open(queue.folder / _WORKER_LOCK, "a+") as stream:
            if not _take_worker_lock(stream):
                return
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            self._recover_interrupted()
            release = queue.folder / _RELEASE_REQUEST
            release.unlink(missing_ok=True)
            idle_since = time.monotonic()
            while queue.folder.is_dir():  # deleting the folder ends the worker
                job = self._next()
                if job is not None:
                    self._run_job(job)
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= self.idle_s or release.exists():
                    with queue._locked():  # `JobQueue.start` waits for this
                        release.unlink(missing_ok=True)
                        if not queue.start_requested():
                            fcntl.flock(stream, fcntl.LOCK_UN)
                            return
                else:
                    time.sleep(POLL_S)

    def _recover_interrupted(self):
        """Return jobs that a dead process left running to the queue; fail repeated ones."""
        with self.queue._locked():
            for path in self.queue.folder.glob("*.job"):
                with contextlib.suppress(InputError):
                    job = self.queue._get(path.stem)
                    if job.state != "running":
                        continue
                    changes = {"state": "waiting", "deaths": job.deaths + 1}
                    if job.deaths + 1 >= MAX_CRASHES:
                        error = HeygemError(
                            f"the process that made it died {MAX_CRASHES} times",
                            remedy="memory may be short: close other programs, or use a shorter "
                            "or smaller video, and try again",
                        )
                        changes |= {"state": "failed", "error": str(error), "reason": error.parts}
                    self.queue._write(replace(job, **changes))

    def _next(self):
        queue = self.queue
        if not queue.start_requested():
            return None
        with queue._locked():
            job = next((j for j in queue.jobs() if j.state == "waiting"), None)
            if job is None:
                (queue.folder / _START_REQUEST).unlink(missing_ok=True)
            else:
                (queue.folder / f"{job.id}.cancel").unlink(missing_ok=True)
                job = replace(job, state="running", progress={})
                queue._write(job)
            return job

    def _run_job(self, job):
        started, cancel, finished = time.monotonic(), threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(job, cancel, finished), daemon=True).start()
        try:
            with ledger.acting_as(job.user):
                outcome = self._make(
                    Params.from_dict(job.params), self._progress_writer(job), cancel
                )
            changes = {
                "state": {"skipped": "done"}.get(outcome.status, outcome.status),
                "output": str(outcome.output or ""),
                "error": outcome.error,
                "reason": outcome.reason,
                "warnings": tuple(outcome.warnings),
            }
        except Cancelled:
            changes = {"state": "cancelled"}
        except Exception as error:  # one job's failure does not stop the others
            reason = error.parts if isinstance(error, HeygemError) else {}
            changes = {"state": "failed", "error": " ".join(str(error).split()), "reason": reason}
        finally:
            finished.set()
        seconds = round(time.monotonic() - started, 2)
        with self.queue._locked():
            with contextlib.suppress(InputError):
                stored = self.queue._get(job.id)
                self.queue._write(replace(stored, seconds=seconds, **changes))
            for ending in ("progress", "cancel"):
                (self.queue.folder / f"{job.id}.{ending}").unlink(missing_ok=True)

    def _watch(self, job, cancel, finished):
        while not finished.wait(POLL_S):
            if (self.queue.folder / f"{job.id}.cancel").exists():
                cancel.set()
                if self.own_process and not finished.wait(CANCEL_GRACE_S):
                    self._exit_and_hand_over(job, finished)
                return

    def _exit_and_hand_over(self, job, finished):
        """Cancel a step that cannot be interrupted: exit, and let a new process do the rest."""
        queue = self.queue
        with queue._locked():
            if finished.is_set():
                return
            with contextlib.suppress(InputError):
                queue._write(replace(queue._get(job.id), state="cancelled"))
            for ending in ("progress", "cancel"):
                (queue.folder / f"{job.id}.{ending}").unlink(missing_ok=True)
            queue.start_worker()
            os._exit(0)

    def _progress_writer(self, job):
        path = self.queue.folder / f"{job.id}.progress"
        started = time.monotonic()
        last = {"at": 0.0, "stage": "", "began": 0.0}

        def report_progress(_name, _number, _count, stage, done, total):
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
                _write_json(path, content)

        return report_progress


def _take_worker_lock(stream):
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)


class ModelCache:
    """Makes one job; keeps the models for the next job where its settings allow."""

    def __init__(self):
        self._key = self._audio = self._models = None

    def __call__(self, params, progress, cancel):
        from heygem import pipeline
        from heygem.batch import runner

        key = _models_key(params)
        if key != self._key:
            self._key = self._models = None  # never two sets in memory
            progress("", 0, 1, "load models", 0, 1)
            self._models, self._key = pipeline.load_models(params), key
        inputs = params.inputs
        audio = _file_state(inputs.pairs[0].audio if inputs.pairs else inputs.audio)
        if audio is None or audio != self._audio:
            self._models.forget_audio()
        self._audio = audio
        report = runner.run(params, progress=progress, cancel=cancel, models=self._models)
        (outcome,) = report.outcomes
        if outcome.status == "failed" and not outcome.bad_input:
            self._key = self._models = None  # their state is unknown after an unexpected error
        return outcome


def _models_key(params):
    """Settings that must be equal for loaded models to be used again."""
    files = tuple(_file_state(path) for path in (params.lips.model, params.checkpoint))
    return params.device, params.engine, params.face, files


def _file_state(path):
    """Path, modification time and size of a file; None for None."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size


if __name__ == "__main__":
    Worker(JobQueue(Path(sys.argv[1])), own_process=True).run()
