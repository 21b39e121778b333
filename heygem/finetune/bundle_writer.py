"""Writing of avatar bundles: all files of a `.heygem` folder, atomically."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heygem.avatar import cache
from heygem.avatar.avatar import Avatar
from heygem.core import files
from heygem.core.errors import OutputError
from heygem.core.types import Progress
from heygem.finetune import adapter, bundle, report
from heygem.finetune.adapt import Adaptation
from heygem.finetune.coverage import Coverage


def write(
    out: Path,
    facts: dict[str, Any],
    source: Path,
    primary: Avatar,
    adaptation: Adaptation,
    covered: Coverage,
    progress: Progress,
) -> None:
    """Write a bundle; an older one of that name is replaced.

    Parameters
    ----------
    out : Path
    facts : dict
        Content of `avatar.json`; the files' hashes are added to it.
    source : Path
        The video that results show.
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
        target = folder / facts["shown"]
        try:
            os.link(source, target)
        except OSError:  # another disk
            shutil.copyfile(source, target)
        progress("write", 0, 1)
        cache.write(folder / bundle.PERSON, primary)
        if not adaptation.kept_base and adaptation.adapter is not None:
            path = folder / bundle.ADAPTER
            adapter.save(adaptation.adapter, path, base_sha256=facts["base_sha256"])
        progress("write", 0, 1)
        report.write(folder, facts, primary, adaptation, covered)
        paths = sorted(folder.iterdir())
        for path in paths:
            path.chmod(0o644)  # temporary files are readable by their owner only
        facts["files"] = {path.name: files.sha256(path) for path in paths}
        files.write_json(folder, facts, name=bundle.FACTS)
        progress("write", 1, 1)


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
        raise OutputError(
            f"cannot write {out.name}", seen=error.strerror, remedy="check the output folder"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
