"""Videos to be made, as files on disk, and the one process that makes them.

A page that is closed takes its kernel with it; so the work is done by a process of its own,
which any page that opens the same folder finds again. Each job is a JSON file; who changes one
holds the folder's lock. A later queue over several machines can stand behind the same methods.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from heygem import manifest
from heygem.errors import Cancelled, InputError
from heygem.params import Params

STATES = ("waiting", "running", "done", "failed", "cancelled")
_LOCK, _WORKER_LOCK, _LOG = ".lock", ".worker", "worker.log"
PROGRESS_S = 0.3  # how often a running job writes how far it is
WATCH_S = 0.2  # how often the worker looks whether it is to stop


@dataclass(frozen=True)
class Job:
    """One video to make.

    Attributes
    ----------
    id : str
    video, audio : str
    params : dict
        The whole recipe; see `heygem.params.Params.tree`.
    state : str
        One of `STATES`.
    order : float
        Smaller comes first.
    output, error : str
        Where the video is; why there is none, in one line.
    warnings : tuple of str
    seconds : float
    progress : dict
        Of a running job: stage, done, total, left_s.
    """

    id: str
    video: str
    audio: str
    params: dict
    order: float
    state: str = "waiting"
    output: str = ""
    error: str = ""
    warnings: tuple = ()
    seconds: float = 0.0
    progress: dict = field(default_factory=dict)

    @property
    def files(self):
        """Video and sound."""
        return self.video, self.audio

    @property
    def name(self):
        """Short, for people."""
        return f"{Path(self.video).name} ← {Path(self.audio).name}"


class Board:
    """The jobs in a folder.

    Parameters
    ----------
    folder : path
        Made when the first job comes.
    """

    def __init__(self, folder):
        self.folder = Path(folder).absolute()

    # --- reading ---

    def jobs(self):
        """All jobs in their order, with the progress of the running one."""
        alive, found = self.working(), []
        for path in self.folder.glob("*.job"):
            job = _read(path)
            if job is None:
                continue
            if job.state == "running" and not alive:
                job = replace(job, state="waiting")  # its process is gone; it starts anew
            elif job.state == "running":
                job = replace(job, progress=_json(self.folder / f"{job.id}.progress"))
            found.append(job)
        return sorted(found, key=lambda job: (job.order, job.id))

    def working(self):
        """Whether a process works on this folder."""
        try:
            with open(self.folder / _WORKER_LOCK, "a+") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    # --- changing ---

    def add(self, video, audio, params):
        """Put a video to be made at the end; returns its Job.

        Raises
        ------
        ParameterError
            The recipe does not fit.
        """
        if not str(video).strip() or not str(audio).strip():
            raise InputError("a job needs a video and a sound", seen=f"{video!r}, {audio!r}")
        files = (str(video), str(audio))
        changes = {"inputs.videos": [files[0]], "inputs.audio": files[1], "inputs.text": None}
        with self._locked():
            jobs, job_id = self.jobs(), uuid.uuid4().hex[:10]
            if any(_stems(job) == _stems(files) and job.files != files for job in jobs):
                # Videos are named after their files; of two alike, the later gets its own folder.
                changes["inputs.output"] = str(Path(params.inputs.output) / job_id)
            recipe = params.override(changes)
            last = max((job.order for job in jobs), default=0.0)
            job = Job(job_id, *files, recipe.tree(), last + 1)
            self._write(job)
        return job

    def cancel(self, job_id):
        """Stop a running job soon; take a waiting one out of the line."""
        with self._locked():
            job = self._get(job_id)
            if job.state == "running" and self.working():
                (self.folder / f"{job.id}.cancel").touch()
            elif job.state in ("waiting", "running"):
                self._write(replace(job, state="cancelled"))

    def cancel_all(self):
        """Stop everything that is not finished."""
        for job in self.jobs():
            if job.state in ("waiting", "running"):
                self.cancel(job.id)

    def retry(self, job_id):
        """Put a failed or cancelled job back into the line."""
        with self._locked():
            job = self._get(job_id)
            if job.state in ("failed", "cancelled"):
                self._write(replace(job, state="waiting", error="", warnings=(), seconds=0.0))

    def retry_failed(self):
        """Put all failed jobs back into the line."""
        for job in self.jobs():
            if job.state == "failed":
                self.retry(job.id)

    def move(self, job_id, places):
        """Bring a job `places` further down the line (up where negative)."""
        with self._locked():
            jobs = self.jobs()
            at = next((k for k, job in enumerate(jobs) if job.id == job_id), None)
            if at is None:
                return
            job = jobs.pop(at)
            jobs.insert(min(max(at + places, 0), len(jobs)), job)
            for order, each in enumerate(jobs, start=1):
                stored = self._get(each.id)
                if stored.order != order:
                    self._write(replace(stored, order=float(order)))

    def remove(self, job_id):
        """Forget a job that does not run; its video stays."""
        with self._locked():
            if self._get(job_id).state != "running" or not self.working():
                for path in self.folder.glob(f"{job_id}.*"):
                    path.unlink(missing_ok=True)

    def start(self):
        """See to it that a process works on the line; it ends when nothing waits."""
        if self.working() or not any(job.state == "waiting" for job in self.jobs()):
            return
        with open(self.folder / _LOG, "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "heygem.jobs", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A session of its own: neither the page's end nor a Ctrl-C reaches it.
                start_new_session=True,
            )

    # --- files ---

    @contextlib.contextmanager
    def _locked(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / _LOCK, "a+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _get(self, job_id):
        job = _read(self.folder / f"{job_id}.job")
        if job is None:
            raise InputError("no such job", seen=job_id, remedy="look at the list again")
        return job

    def _write(self, job):
        content = asdict(replace(job, progress={}))
        _replace(self.folder / f"{job.id}.job", content)


def _stems(job):
    return [Path(name).stem.casefold() for name in getattr(job, "files", job)]


def _json(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _read(path):
    content = _json(path)
    try:
        job = Job(**content)
    except TypeError:  # not one of ours, or half a file of a full disk
        return None
    return replace(job, warnings=tuple(job.warnings)) if job.state in STATES else None


def _replace(path, content):
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    os.replace(part, path)


class Worker:
    """Makes the jobs of a board one after the other, in this process.

    Parameters
    ----------
    board : Board
    make : callable, optional
        `make(params, progress, cancel) -> heygem.batch.Outcome`; by default the same
        `heygem.batch.run` that the command line uses.
    """

    def __init__(self, board, make=None):
        self.board = board
        self._make = make if make is not None else _make

    def run(self):
        """Work until nothing waits; returns at once where another process is at it."""
        board = self.board
        board.folder.mkdir(parents=True, exist_ok=True)
        with open(board.folder / _WORKER_LOCK, "a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            with board._locked():
                for job in board.jobs():
                    if job.state == "running":  # left by a process that died
                        board._write(replace(job, state="waiting"))
            while (job := self._next()) is not None:
                self._one(job)

    def _next(self):
        with self.board._locked():
            job = next((j for j in self.board.jobs() if j.state == "waiting"), None)
            if job is not None:
                (self.board.folder / f"{job.id}.cancel").unlink(missing_ok=True)
                job = replace(job, state="running")
                self.board._write(job)
            return job

    def _one(self, job):
        began, cancel, over = time.monotonic(), threading.Event(), threading.Event()
        threading.Thread(target=self._watch, args=(job, cancel, over), daemon=True).start()
        try:
            outcome = self._make(Params.from_dict(job.params), self._teller(job), cancel)
            changes = {
                "state": {"skipped": "done"}.get(outcome.status, outcome.status),
                "output": str(outcome.output or ""),
                "error": outcome.error,
                "warnings": tuple(outcome.warnings),
            }
        except Cancelled:
            changes = {"state": "cancelled"}
        except Exception as error:  # whatever it is, the others are still made
            changes = {"state": "failed", "error": " ".join(str(error).split())}
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
                return

    def _teller(self, job):
        path = self.board.folder / f"{job.id}.progress"
        last = {"at": 0.0, "stage": "", "began": 0.0}

        def tell(_name, _number, _count, stage, done, total):
            now = time.monotonic()
            if stage != last["stage"]:
                last.update(stage=stage, began=now, at=0.0)
            if now - last["at"] < PROGRESS_S and done < total:
                return
            last["at"] = now
            left_s = (now - last["began"]) / done * (total - done) if done else 0.0
            content = {"stage": stage, "done": done, "total": total, "left_s": round(left_s, 1)}
            with contextlib.suppress(OSError):
                _replace(path, content)

        return tell


def _make(params, progress, cancel):
    from heygem import batch

    report = batch.run(params, progress=progress, cancel=cancel)
    return report.outcomes[0]


def results(folder):
    """Finished videos of an output folder, newest first.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of dict
        The manifests, each with "path" (of the video) and "details" (its folder) added; videos
        that are gone are left out.
    """
    found = []
    folder = Path(folder)
    for details in [*folder.glob("details/*"), *folder.glob("*/details/*")]:
        content = manifest.read(details) if details.is_dir() else None
        if not content or "output" not in content:
            continue
        path = (details / content["output"]["file"]).resolve()
        if path.is_file():
            found.append({**content, "path": path, "details": details})
    return sorted(found, key=lambda m: m.get("finished", ""), reverse=True)


if __name__ == "__main__":
    Worker(Board(sys.argv[1])).run()
