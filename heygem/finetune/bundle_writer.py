"""Writing of avatar bundles: all files of a `.heygem` folder, atomically."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from heygem.avatar import cache
from heygem.avatar.avatar import Avatar
from heygem.core import disk, files
from heygem.core.errors import InputError
from heygem.core.types import Progress
from heygem.finetune import adapter, bundle, report
from heygem.finetune.adapt import Adaptation
from heygem.finetune.coverage import Coverage


def write(
    out: Path,
    facts: dict[str, Any],
    footage: Sequence[Path],
    primary: Avatar,
    adaptation: Adaptation,
    covered: Coverage,
    progress: Progress,
) -> None:
    """Write a bundle; an older one of that name is replaced.

    All its files are its own: the footage is copied, its mode and links stay as they are. Nobody
    may read the folder who may not read all footage.

    Parameters
    ----------
    out : Path
    facts : dict
        Content of `avatar.json`; the files' hashes are added to it.
    footage : sequence of Path
        All that was used; the first is the video that results show.
    primary : Avatar
        With the pictures of all footage.
    adaptation : Adaptation
    covered : Coverage
    progress : callable

    Raises
    ------
    OutputError
    """
    progress("write", 0, 1)
    with _replaced_folder(out) as folder:
        mode = stat.S_IMODE(folder.stat().st_mode)
        folder.chmod(0o700)  # until it is known who may read it
        target = folder / facts["shown"]
        files.copy_content(footage[0], target)
        if files.sha256(target) != facts["sources"][0]["sha256"]:
            raise InputError(
                f"{footage[0].name} was changed while the avatar was being made",
                remedy="start again when nothing writes to it any more",
            )
        progress("write", 0, 1)
        cache.write(folder / bundle.PERSON, primary)
        if not (folder / bundle.PERSON).is_file():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not adaptation.kept_base and adaptation.adapter is not None:
            path = folder / bundle.ADAPTER
            adapter.save(adaptation.adapter, path, base_sha256=facts["base_sha256"])
        progress("write", 0, 1)
        report.write(folder, facts, primary, adaptation, covered)
        facts["files"] = {path.name: files.sha256(path) for path in sorted(folder.iterdir())}
        files.write_json(folder, facts, name=bundle.FACTS)
        _restrict(folder, footage, mode)
        progress("write", 1, 1)


def _restrict(folder: Path, footage: Sequence[Path], mode: int) -> None:
    """Give a new bundle `mode`, the umask's, without what any of the footage withholds."""
    for path in footage:
        mode &= path.stat().st_mode | 0o700
    for path in folder.iterdir():
        path.chmod(mode & 0o666)
    readable = mode & 0o044
    folder.chmod(0o700 | readable | readable >> 2 | mode & 0o022)


@contextlib.contextmanager
def _replaced_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that takes its place if nothing is raised."""
    hidden = out.with_name(f".{out.name}-{os.getpid()}")
    old = out.with_name(f".{out.name}-{os.getpid()}-old")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        hidden.mkdir()
        yield hidden
        if out.exists():
            out.rename(old)
        hidden.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise disk.write_error(error, out, place="output") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
