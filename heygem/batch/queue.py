"""Videos to be made: a line of jobs, as files on disk.

A page that is closed takes its kernel with it; so the work is done by a process of its own (see
`heygem.batch.worker`), which any page that opens the same folder finds again. Each job is a JSON file;
who changes one holds the folder's lock. A later queue over several machines can stand behind the
same methods.
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
from heygem.core.files import read_json

STATES = ("waiting", "running", "done", "failed", "cancelled")
_LOCK, _WORKER_LOCK, _CALL, _LEAVE, _LOG = ".lock", ".worker", ".call", ".leave", "worker.log"
READ_ALOUD = 15.0  # letters a second, about


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
        What is spoken, where it is no file; what the result is called, where somebody says so.
    state : str
        One of `STATES`.
    output, error : str
        Where the video is; why there is none, in one line.
    reason : dict
        The error in its parts, where they are known: what, seen, remedy.
    warnings : tuple of str
    seconds : float
        How long it took.
    length_s : float
        How long the speech is, about; 0 where nobody knows.
    deaths : int
        Processes that ended over it without a word.
    user : str
        Who asked for it, where several are served; see `heygem.server.policy`.
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
        """The sound's file, or the beginning of the text, short, for people."""
        return Path(self.audio).name if self.audio else f"“{textwrap.shorten(self.text, 40)}”"

    @property
    def name(self):
        """Short, for people."""
        return self.title or f"{Path(self.video).name} ← {self.spoken}"

    @property
    def open(self):
        """Whether it is still to be made."""
        return self.state in ("waiting", "running")


class JobQueue:
    """The jobs in a folder.

    Parameters
    ----------
    folder : path
        Made when the first job comes.
    admission : callable, optional
        `admission(pairs, lengths_s)` returns the name of who asks, or raises PolicyError; called
        before any job is written. Default: everything is admitted, for nobody in particular.
    """

    def __init__(self, folder, *, admission=None):
        self.folder = Path(folder).absolute()
        self._admission = admission if admission is not None else lambda pairs, lengths_s: ""

    # --- reading ---

    def jobs(self):
        """All jobs in their order, with the progress of the running one."""
        alive, found = self.attended(), []
        for path in self.folder.glob("*.job"):
            job = _read(path)
            if job is None:
                continue
            if job.state == "running" and not alive:
                job = replace(job, state="waiting")  # its process is gone; it starts anew
            elif job.state == "running":
                stopping = (self.folder / f"{job.id}.cancel").exists()
                progress = _json(self.folder / f"{job.id}.progress")
                job = replace(job, progress={**progress, "stopping": stopping})
            found.append(job)
        return sorted(found, key=lambda job: (job.order, job.id))

    def attended(self):
        """Whether a process stands by this folder, at work or waiting for some."""
        try:
            with open(self.folder / _WORKER_LOCK) as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    def called(self):
        """Whether somebody wants the line to be worked on; ends when nothing waits."""
        return (self.folder / _CALL).exists()

    def working(self):
        """Whether a process works on the line."""
        return self.called() and self.attended()

    def attendant(self):
        """Process id of who stands by this folder; None where nobody does."""
        try:
            number = int((self.folder / _WORKER_LOCK).read_text())
        except (OSError, ValueError):
            return None
        return number if self.attended() else None

    # --- changing ---

    def add(self, video, audio, params):
        """Put a video to be made at the end; returns its Job.

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
        """Put a table of pairs at the end, all or none; returns their Jobs.

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
                taken.setdefault(_title(job), set()).add(_said(job))
            for pair in pairs:
                spoken = pair.audio, pair.text
                if spoken not in lengths:
                    lengths[spoken] = _length_s(pair)
                # Videos are named after their files; of two alike, the later gets its own folder.
                alone = taken.setdefault(_title(pair), set()) <= {_said(pair)}
                taken[_title(pair)].add(_said(pair))
                job = _job(pair, params, last + 1 + len(added), alone=alone)
                added.append(replace(job, length_s=lengths[spoken]))
            user = self._admission(pairs, [job.length_s for job in added])
            added = [replace(job, user=user) for job in added]
            for job in added:
                self._write(job)
        return added

    def cancel(self, job_id):
        """Stop a running job soon; take a waiting one out of the line."""
        with self._locked():
            job = self._get(job_id)
            if job.state == "running" and self.attended():
                (self.folder / f"{job.id}.cancel").touch()
            elif job.open:
                self._write(replace(job, state="cancelled"))

    def cancel_all(self):
        """Stop everything that is not finished; what waits first, so that nothing moves up."""
        for job in reversed(self.jobs()):
            if job.open:
                self.cancel(job.id)

    def retry(self, job_id):
        """Put a failed or cancelled job back into the line."""
        with self._locked():
            job = self._get(job_id)
            if job.state in ("failed", "cancelled"):
                fresh = {"error": "", "reason": {}, "warnings": (), "seconds": 0.0, "deaths": 0}
                self._write(replace(job, state="waiting", **fresh))

    def retry_failed(self):
        """Put all failed jobs back into the line."""
        for job in self.jobs():
            if job.state == "failed":
                self.retry(job.id)

    def move(self, job_id, places):
        """Bring a job `places` further down the line (up where negative)."""
        ids = [job.id for job in self.jobs() if job.id != job_id]
        at = next((k for k, job in enumerate(self.jobs()) if job.id == job_id), None)
        if at is not None:
            at = max(at + places, 0)
            self.place(job_id, ids[at] if at < len(ids) else None)

    def place(self, job_id, before):
        """Bring a job right before another (its id), or to the end (None)."""
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
        """Forget a job that does not run; its video stays."""
        with self._locked():
            if self._get(job_id).state != "running" or not self.attended():
                for path in self.folder.glob(f"{job_id}.*"):
                    path.unlink(missing_ok=True)

    def start(self):
        """See to it that a process works on the line, until nothing waits."""
        with self._locked():
            if not any(job.open for job in self.jobs()):
                return
            (self.folder / _CALL).touch()
            if self.attended():
                return
        self.send_for()

    def send_for(self):
        """Start a process that works on the line; it leaves where another is at it."""
        with open(self.folder / _LOG, "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "heygem.batch.worker", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A session of its own: neither the page's end nor a Ctrl-C reaches it.
                start_new_session=True,
            )

    def dismiss(self):
        """Let a process that only stands by go, with its models, as soon as nothing waits."""
        if self.attended():
            (self.folder / _LEAVE).touch()

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


def _job(pair, params, order, *, alone):
    """A pair as a job; `alone`: whether no other's result would have the same name."""
    if not pair.video or not (pair.audio or pair.text):
        raise InputError("a job needs a video and a sound", seen=f"{pair.video!r}, {pair.audio!r}")
    job_id, audio, text = uuid.uuid4().hex[:10], pair.audio or "", pair.text or ""
    changes = {**pair.changes, "inputs.audio": None, "inputs.text": None, "inputs.videos": ()}
    if pair.name is None:
        said = {"inputs.audio": pair.audio, "inputs.text": pair.text}
        changes |= {"inputs.videos": (pair.video,), "inputs.pairs": None, **said}
    else:
        row = {"video": pair.video, "audio": pair.audio, "text": pair.text, "name": pair.name}
        changes["inputs.pairs"] = [row]
    if not alone:
        changes["inputs.output"] = str(Path(params.inputs.output) / job_id)
    tree = params.override(changes).tree()
    return Job(job_id, pair.video, audio, tree, order, text, pair.name or "")


def _said(job):
    """Who says what: Job or Pair."""
    return job.video, job.audio or "", job.text or ""


def _title(job):
    """What the result is called, about: Job or Pair."""
    given = job.title if isinstance(job, Job) else job.name
    sound = Path(job.audio).stem if job.audio else ""
    return (given or f"{Path(job.video).stem}-{sound}").casefold()


def _length_s(pair):
    """Length of the speech; 0 where the file does not say (its job will)."""
    if pair.audio is None:
        return len(pair.text) / READ_ALOUD
    try:
        return float(media.probe(pair.audio).duration_s or 0.0)
    except HeygemError:
        return 0.0


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
        content = read_json(details) if details.is_dir() else None
        if not content or "output" not in content:
            continue
        path = (details / content["output"]["file"]).resolve()
        if path.is_file():
            found.append({**content, "path": path, "details": details})
    return sorted(found, key=lambda m: m.get("finished", ""), reverse=True)
