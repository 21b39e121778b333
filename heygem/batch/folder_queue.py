"""A queue of videos to make, stored as files.

Closing a page ends its kernel, so a separate process does the work
(`heygem.batch.folder_worker`); every page that opens the same folder shows the same queue. Each job
is one JSON file, and whoever changes one holds the folder's lock.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import textwrap
import threading
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from heygem import media
from heygem.config.pairs import Pair
from heygem.core.errors import HeygemError, InputError
from heygem.core.folders import make_private_folder

STATES = ("waiting", "running", "done", "failed", "cancelled")
_LOCK, _WORKER_LOCK, _LOG = ".lock", ".worker", "worker.log"
_START_REQUEST, _RELEASE_REQUEST = ".call", ".leave"  # exist while the request stands
LETTERS_PER_S = 15.0  # of text read aloud, about


@dataclass(frozen=True)
class Job:
    """One video to make.

    Attributes
    ----------
    id : str
    video, audio : str
        `audio` is empty where a text is spoken.
    params : dict
        The whole recipe; see `heygem.config.params.Params.tree`.
    order : float
        Smaller comes first.
    text, title : str
        Text to speak instead of an audio file; name of the result, "" for a derived one.
    state : str
        One of `STATES`.
    output, error : str
        Path of the finished video; error message, one line.
    reason : dict
        The error in its parts (what, seen, remedy), where known.
    warnings : tuple of str
    seconds : float
        Processing time.
    length_s : float
        Length of the speech, about; 0 where unknown.
    deaths : int
        How many worker processes died while making it.
    user : str
        User who added it, on a server with several users; see `heygem.server.policy`.
    progress : dict
        Of a running job: stage, done, total, left_s, elapsed_s, stopping.
    """

    id: str
    video: str
    audio: str
    params: dict
    order: float
    text: str = ""
    title: str = ""
    state: str = "waiting"
    output: str = ""
    error: str = ""
    reason: dict = field(default_factory=dict)
    warnings: tuple = ()
    seconds: float = 0.0
    length_s: float = 0.0
    deaths: int = 0
    user: str = ""
    progress: dict = field(default_factory=dict)

    @property
    def spoken(self):
        """Name of the audio file, or the beginning of the text; for display."""
        return Path(self.audio).name if self.audio else f"“{textwrap.shorten(self.text, 40)}”"

    @property
    def name(self):
        """Short name for display."""
        return self.title or f"{Path(self.video).name} ← {self.spoken}"

    @property
    def open(self):
        """Whether it is not finished: waiting or running."""
        return self.state in ("waiting", "running")


class JobQueue:
    """The jobs in a folder.

    Parameters
    ----------
    folder : path
        Created with the first job.
    admission : callable, optional
        `admission(pairs, lengths_s)` returns the name of the user, or raises PolicyError; called
        before any job is written. Default: admits everything, user "".
    """

    def __init__(self, folder, *, admission=None):
        self.folder = Path(folder).absolute()
        self._admission = admission if admission is not None else lambda pairs, lengths_s: ""

    # --- reading ---

    def jobs(self):
        """All jobs in their order, with the progress of the running one."""
        alive, jobs = self.worker_running(), []
        for path in self.folder.glob("*.job"):
            job = _read_job(path)
            if job is None:
                continue
            if job.state == "running" and not alive:
                job = replace(job, state="waiting")  # its process died; it starts again
            elif job.state == "running":
                stopping = (self.folder / f"{job.id}.cancel").exists()
                progress = _read_json(self.folder / f"{job.id}.progress")
                job = replace(job, progress={**progress, "stopping": stopping})
            jobs.append(job)
        return sorted(jobs, key=lambda job: (job.order, job.id))

    def worker_running(self):
        """Whether a worker process exists for this folder, busy or idle."""
        try:
            with open(self.folder / _WORKER_LOCK) as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def start_requested(self):
        """Whether the queue is to be processed; cleared when no job is waiting."""
        return (self.folder / _START_REQUEST).exists()

    def is_working(self):
        """Whether a worker process is processing the queue."""
        return self.start_requested() and self.worker_running()

    def worker_pid(self):
        """Process id of this folder's worker; None where there is none."""
        try:
            number = int((self.folder / _WORKER_LOCK).read_text())
        except (OSError, ValueError):
            return None
        return number if self.worker_running() else None

    # --- changing ---

    def add(self, video, audio, params):
        """Append one video; returns its Job.

        Raises
        ------
        InputError, ParameterError
            A file is not named; the recipe does not fit.
        """
        if not str(video).strip() or not str(audio).strip():
            raise InputError("a job needs a video and a sound", seen=f"{video!r}, {audio!r}")
        (job,) = self.add_all([Pair(video=str(video), audio=str(audio))], params)
        return job

    def add_all(self, pairs, params):
        """Append a table of pairs, all or none; returns their Jobs.

        Parameters
        ----------
        pairs : list of heygem.config.pairs.Pair
        params : heygem.config.params.Params
            Recipe of all; a pair's own settings go before it.

        Raises
        ------
        InputError, ParameterError
            A pair lacks something; a recipe does not fit.
        PolicyError
            The rules of a served installation do not allow it.
        """
        with self._locked():
            jobs, added, lengths, taken = self.jobs(), [], {}, {}
            last = max((job.order for job in jobs), default=0.0)
            for job in jobs:
                taken.setdefault(_title(job), set()).add(_content(job))
            for pair in pairs:
                speech = pair.audio, pair.text
                if speech not in lengths:
                    lengths[speech] = _length_s(pair)
                # Results are named after their inputs; on a clash the later gets its own folder.
                alone = taken.setdefault(_title(pair), set()) <= {_content(pair)}
                taken[_title(pair)].add(_content(pair))
                job = _job(pair, params, last + 1 + len(added), alone=alone)
                added.append(replace(job, length_s=lengths[speech]))
            user = self._admission(pairs, [job.length_s for job in added])
            added = [replace(job, user=user) for job in added]
            for job in added:
                self._write(job)
        return added

    def cancel(self, job_id):
        """Stop a running job soon; cancel a waiting one."""
        with self._locked():
            job = self._get(job_id)
            if job.state == "running" and self.worker_running():
                (self.folder / f"{job.id}.cancel").touch()
            elif job.open:
                self._write(replace(job, state="cancelled"))

    def cancel_all(self):
        """Cancel every unfinished job; waiting ones first, so that none of them starts."""
        for job in reversed(self.jobs()):
            if job.open:
                self.cancel(job.id)

    def retry(self, job_id):
        """Return a failed or cancelled job to the queue."""
        with self._locked():
            job = self._get(job_id)
            if job.state in ("failed", "cancelled"):
                fresh = {"error": "", "reason": {}, "warnings": (), "seconds": 0.0, "deaths": 0}
                self._write(replace(job, state="waiting", **fresh))

    def retry_failed(self):
        """Return all failed jobs to the queue."""
        for job in self.jobs():
            if job.state == "failed":
                self.retry(job.id)

    def move(self, job_id, places):
        """Move a job `places` positions later (earlier where negative)."""
        ids = [job.id for job in self.jobs() if job.id != job_id]
        at = next((k for k, job in enumerate(self.jobs()) if job.id == job_id), None)
        if at is not None:
            at = max(at + places, 0)
            self.place(job_id, ids[at] if at < len(ids) else None)

    def place(self, job_id, before):
        """Move a job right before another (its id), or to the end (None)."""
        with self._locked():
            jobs = self.jobs()
            moved = [job for job in jobs if job.id == job_id and job.id != before]
            rest = [job for job in jobs if job not in moved]
            at = next((k for k, job in enumerate(rest) if job.id == before), len(rest))
            for order, each in enumerate([*rest[:at], *moved, *rest[at:]], start=1):
                stored = self._get(each.id)
                if stored.order != order:
                    self._write(replace(stored, order=float(order)))

    def remove(self, job_id):
        """Delete a job that is not running; its video stays."""
        with self._locked():
            if self._get(job_id).state != "running" or not self.worker_running():
                for path in self.folder.glob(f"{job_id}.*"):
                    path.unlink(missing_ok=True)

    def start(self):
        """Process the queue until no job is waiting; starts a worker if none is running."""
        with self._locked():
            if not any(job.open for job in self.jobs()):
                return
            (self.folder / _START_REQUEST).touch()
            if self.worker_running():
                return
        self.start_worker()

    def start_worker(self):
        """Start a worker process; it exits at once where another one holds the queue."""
        with open(self.folder / _LOG, "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "heygem.batch.folder_worker", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: neither closing the page nor Ctrl-C stops it.
                start_new_session=True,
            )

    def release_worker(self):
        """Ask an idle worker to exit, which frees its models, as soon as no job is waiting."""
        if self.worker_running():
            (self.folder / _RELEASE_REQUEST).touch()

    # --- files ---

    @contextlib.contextmanager
    def _locked(self):
        make_private_folder(self.folder)
        with open(self.folder / _LOCK, "a+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _get(self, job_id):
        job = _read_job(self.folder / f"{job_id}.job")
        if job is None:
            raise InputError("no such job", seen=job_id, remedy="look at the list again")
        return job

    def _write(self, job):
        content = asdict(replace(job, progress={}))
        _write_json(self.folder / f"{job.id}.job", content)


def _job(pair, params, order, *, alone):
    """Convert a pair to a job; `alone`: no other job's result would have the same name."""
    if not pair.video or not (pair.audio or pair.text):
        raise InputError("a job needs a video and a sound", seen=f"{pair.video!r}, {pair.audio!r}")
    job_id, audio, text = uuid.uuid4().hex[:10], pair.audio or "", pair.text or ""
    changes = {**pair.changes, "inputs.audio": None, "inputs.text": None, "inputs.videos": ()}
    if pair.name is None:
        speech = {"inputs.audio": pair.audio, "inputs.text": pair.text}
        changes |= {"inputs.videos": (pair.video,), "inputs.pairs": None, **speech}
    else:
        row = {"video": pair.video, "audio": pair.audio, "text": pair.text, "name": pair.name}
        changes["inputs.pairs"] = [row]
    if not alone:
        changes["inputs.output"] = str(Path(params.inputs.output) / job_id)
    tree = params.override(changes).tree()
    return Job(job_id, pair.video, audio, tree, order, text, pair.name or "")


def _content(job):
    """Video and speech of a Job or Pair."""
    return job.video, job.audio or "", job.text or ""


def _title(job):
    """Approximate name of the result of a Job or Pair."""
    name = job.title if isinstance(job, Job) else job.name
    sound = Path(job.audio).stem if job.audio else ""
    return (name or f"{Path(job.video).stem}-{sound}").casefold()


def _length_s(pair):
    """Length of the speech [s]; 0 where the file cannot be read (the job will report it)."""
    if pair.audio is None:
        return len(pair.text) / LETTERS_PER_S
    try:
        return float(media.probe(pair.audio).duration_s or 0.0)
    except HeygemError:
        return 0.0


def _read_json(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _read_job(path):
    content = _read_json(path)
    try:
        job = Job(**content)
    except TypeError:  # another file, or one truncated by a full disk
        return None
    return replace(job, warnings=tuple(job.warnings)) if job.state in STATES else None


def _write_json(path, content):
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    part.write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    os.replace(part, path)
