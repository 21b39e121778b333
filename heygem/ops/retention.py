"""What may be deleted after a time, and its deletion: results, tracked avatars, rotated logs.

Ledger, keys, consent and queue are never deleted: the ledger must tell what was made for as long as
it exists. A result goes only if its manifest and the ledger prove that it is heygem's and unchanged
and nothing about it is in dispute; a signed row of the ledger says so before it goes.
"""

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from heygem.batch.item import manifest
from heygem.batch.item.details import MANIFEST
from heygem.batch.item.output_lock import lock_output_dir
from heygem.batch.items import DETAILS
from heygem.config import recipes
from heygem.config.settings import Settings, checked
from heygem.core import logs
from heygem.core.errors import AssetError, HeygemError
from heygem.core.files import read_json, sha256, status_of
from heygem.core.folders import avatar_folder
from heygem.core.types import PathLike
from heygem.ops import work
from heygem.provenance import keys
from heygem.provenance.ledger import MADE, Entry, Ledger, default_path

DELETED = "deleted"  # kind of the ledger's row
DAY_S = 86400.0
Kind = Literal["result", "avatar", "log"]


class Results(Settings):
    """Finished videos with their details."""

    older_than_days: float | None = Field(
        None, ge=1, description="delete results made longer ago [days]; null: never"
    )
    keep_details: bool = Field(True, description="keep manifest, pictures and log of the result")


class Avatars(Settings):
    """Tracked avatars in the cache; each can be tracked again."""

    unused_days: float | None = Field(
        None, ge=1, description="delete what was not used for so long [days]; null: never"
    )
    max_gb: float | None = Field(
        None, ge=0, description="delete the longest unused above this size [GB]; null: no limit"
    )


class Logs(Settings):
    """Rotated logs of this machine; those of items belong to their results."""

    older_than_days: float | None = Field(
        None, ge=1, description="delete rotated logs last written longer ago [days]; null: never"
    )


class RetentionSettings(Settings):
    """The whole file."""

    example: ClassVar[str] = "params/operations/retention.yaml"

    results: Results = Field(default_factory=Results, description="finished videos")
    avatars: Avatars = Field(default_factory=Avatars, description="tracked avatars")
    logs: Logs = Field(default_factory=Logs, description="rotated logs")


@dataclass(frozen=True)
class Deletion:
    """Something that is to be deleted.

    Attributes
    ----------
    kind : str
    path : Path
        Of the file; of a result, the video.
    size : int
        Bytes that become free.
    reason : str
    details : Path or None
        Folder of the result's details, where that goes too.
    made : Entry or None
        The ledger's row of the result.
    """

    kind: Kind
    path: Path
    size: int
    reason: str
    details: Path | None = None
    made: Entry | None = None


@dataclass(frozen=True)
class Plan:
    """What may go.

    Attributes
    ----------
    deletions : list of Deletion
    kept : list of str
        Old results that stay all the same, with the reason.
    """

    deletions: list[Deletion]
    retained: list[str]


def read(path: PathLike | None) -> RetentionSettings:
    """The settings in a YAML file; without one, nothing is ever deleted.

    Raises
    ------
    InputError, ParameterError
        It cannot be read, or something in it is wrong.
    """
    return checked(RetentionSettings, recipes.read(path) if path is not None else {})


def plan(settings: RetentionSettings, folders: Iterable[Path], *, now: float | None = None) -> Plan:
    """What the settings would delete; changes nothing.

    Parameters
    ----------
    settings : RetentionSettings
    folders : iterable of Path
        Folders of results.
    now : float, optional
        Unix time [s].
    """
    now = now if now is not None else time.time()
    deletions, retained = _old_results(settings.results, folders, now)
    deletions += _unused_avatars(settings.avatars, now)
    if settings.logs.older_than_days is not None:
        limit = now - settings.logs.older_than_days * DAY_S
        for path in log_files():
            status = status_of(path)
            if status and path != logs.log_file() and status.st_mtime < limit:
                reason = _older_than(settings.logs.older_than_days)
                deletions.append(Deletion("log", path, status.st_size, reason))
    return Plan(deletions, retained)


def apply(chosen: Plan, *, who: str = "") -> tuple[list[Deletion], list[str]]:
    """Delete what a plan says, if it still is what the plan saw.

    Parameters
    ----------
    chosen : Plan
    who : str
        Who asked for it, for the ledger; default: the account of this process.

    Returns
    -------
    deleted : list of Deletion
    problems : list of str
        What could not be deleted, and why.
    """
    deleted, problems = [], []
    for deletion in chosen.deletions:
        try:
            if deletion.kind == "result":
                _delete_result(deletion, who)
            else:
                deletion.path.unlink(missing_ok=True)
            deleted.append(deletion)
        except (OSError, HeygemError) as error:
            problems.append(f"{deletion.path.name}: {error}")
    return deleted, problems


def log_files() -> list[Path]:
    """The log and its rotated files."""
    from heygem.ops import log_view

    return log_view.files()


def _old_results(
    rules: Results, folders: Iterable[Path], now: float
) -> tuple[list[Deletion], list[str]]:
    if rules.older_than_days is None or not default_path().is_file():
        return [], []
    ledger = Ledger(keys=keys.load_for_reading())
    busy = _busy_outputs()
    deletions, retained = [], []
    for folder in folders:
        for details in sorted((Path(folder) / DETAILS).glob("*")):
            content = read_json(details, name=MANIFEST) if details.is_dir() else None
            if not content or content.get("status") != "done" or "output" not in content:
                continue
            output = _output(details, content)
            if output is None or not output.is_file():
                continue
            if _age_days(content, now) < rules.older_than_days:
                continue
            reason, made = _reason_to_retain(ledger, content, output, busy)
            if made is not None and _row_age_days(made, now) < rules.older_than_days:
                continue  # the manifest names an older time than the signed row
            if reason or made is None:
                retained.append(f"{output.name}: {reason}")
                continue
            folder_of_details = None if rules.keep_details else details
            size = output.stat().st_size
            if folder_of_details is not None:
                size += sum(p.stat().st_size for p in details.iterdir() if p.is_file())
            text = _older_than(rules.older_than_days)
            deletions.append(Deletion("result", output, size, text, folder_of_details, made))
    return deletions, retained


def _reason_to_retain(
    ledger: Ledger, content: dict[str, Any], output: Path, busy: set[str]
) -> tuple[str, Entry | None]:
    """Why an old result stays, "" if it may go; and the ledger's row about it."""
    if str(output.absolute()) in busy:
        return "it is in the queue to be made again", None
    if output.is_symlink() or not manifest.records_result(content, output):
        return "it was changed since it was made, or is a link", None
    digest = content["output"]["sha256"]
    rows = ledger.entries(kind=MADE, subject=digest)
    if not rows:
        return "the ledger does not have it", None
    sources = [(content.get(kind) or {}).get("sha256") for kind in ("video", "audio")]
    if any(_is_blocked(ledger, subject) for subject in (digest, *sources) if subject):
        return "it, or what it was made of, is blocked: evidence of a dispute", rows[-1]
    return "", rows[-1]


def _is_blocked(ledger: Ledger, subject: str) -> bool:
    """Whether the newest word of the ledger about a file is that it must not be used."""
    rows = ledger.entries(kind="blocked", subject=subject)
    rows += ledger.entries(kind="unblocked", subject=subject)
    return bool(rows) and max(rows, key=lambda entry: entry.number).kind == "blocked"


def _delete_result(deletion: Deletion, who: str) -> None:
    """Record the deletion in the ledger, then delete the file and what belongs to it."""
    assert deletion.made is not None
    signing = keys.load_for_reading()
    if not isinstance(signing, keys.Keys):
        raise AssetError(
            "the keys that sign the ledger are missing, so that the deletion cannot be recorded",
            remedy="restore them with `heygem keys restore BACKUP`",
        )
    with lock_output_dir(deletion.path.parent):
        if deletion.path.is_symlink() or sha256(deletion.path) != deletion.made.subject:
            raise AssetError("it was changed meanwhile, and is left as it is")
        ledger = Ledger(keys=signing)
        body = {
            "made": deletion.made.number,
            "file": deletion.path.name,
            "reason": deletion.reason,
            "details_deleted": deletion.details is not None,
        }
        if not ledger.entries(kind=DELETED, subject=deletion.made.subject):  # a killed run's
            ledger.append(DELETED, deletion.made.subject, body | ({"who": who} if who else {}))
        deletion.path.unlink()
        if deletion.details is not None:
            for path in list(deletion.details.iterdir()):
                if path.is_file() or path.is_symlink():
                    path.unlink()
            with contextlib.suppress(OSError):
                deletion.details.rmdir()
    _forget_job(deletion.path)


def _unused_avatars(rules: Avatars, now: float) -> list[Deletion]:
    """Cached avatars that were not used for long, then the longest unused above the size."""
    if rules.unused_days is None and rules.max_gb is None:
        return []
    folder = avatar_folder()
    paths = [path for path in folder.glob("*.npz") if path.is_file()] if folder.is_dir() else []
    avatars = [
        (max(status.st_atime, status.st_mtime), path, status.st_size)
        for path in paths
        if (status := status_of(path)) is not None
    ]
    total = sum(size for _, _, size in avatars)
    deletions = []
    for used, path, size in sorted(avatars):
        if rules.unused_days is not None and now - used > rules.unused_days * DAY_S:
            deletions.append(Deletion("avatar", path, size, _older_than(rules.unused_days)))
        elif rules.max_gb is not None and total > rules.max_gb * 1e9:
            text = f"the cache is above {rules.max_gb:g} GB"
            deletions.append(Deletion("avatar", path, size, text))
        else:
            continue
        total -= size
    return deletions


def _older_than(days: float) -> str:
    return f"older than {days:g} days"


def _output(details: Path, content: dict[str, Any]) -> Path | None:
    """The video of a manifest; None where the manifest leads elsewhere."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        path = Path(os.path.normpath(details / str(content["output"]["file"])))
        if path.parent == Path(os.path.normpath(details.parent.parent)):
            return path
    return None


def _age_days(content: dict[str, Any], now: float) -> float:
    """Days since a result was finished; 0 where the manifest does not say when."""
    try:
        return (now - datetime.fromisoformat(str(content["finished"])).timestamp()) / DAY_S
    except (KeyError, ValueError):
        return 0.0


def _row_age_days(made: Entry, now: float) -> float:
    return (now - datetime.fromisoformat(made.time_utc).timestamp()) / DAY_S


def _busy_outputs() -> set[str]:
    """Results that the queue is to make, or makes now."""
    queue = work.open_queue()
    if queue is None:
        return set()
    return {job.output for job in queue.jobs(states=("pending", "running"))}


def _forget_job(output: Path) -> None:
    """Remove the finished job of a deleted result: `done` means that its file is there."""
    queue = work.open_queue()
    if queue is None:
        return
    for job in queue.jobs(states=("done",)):
        if job.output == str(output.absolute()):
            queue.remove(job.id)
