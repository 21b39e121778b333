"""Rows of the ledger in a text file, for somebody who checks them without the database."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from heygem.core import disk
from heygem.core.errors import InputError, OutputError
from heygem.core.types import PathLike
from heygem.provenance.ledger.rows import COLUMNS, Entry, canonical_json, storable


def write(path: PathLike, entries: Iterable[Entry]) -> None:
    """Write rows as JSON lines, each with its hash and signature.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.
    """
    lines = (storable(json.dumps(e.to_dict(), ensure_ascii=False, sort_keys=True)) for e in entries)
    write_new(path, "".join(f"{line}\n" for line in lines))


def read(path: PathLike) -> list[tuple[Any, ...]]:
    """Rows of a file that `Ledger.export` wrote, as `check_rows` takes them.

    Raises
    ------
    InputError
        It cannot be read, or holds other things.
    """
    rows = []
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                row["body"] = canonical_json(row["body"])
                if type(row["number"]) is not int or not all(
                    isinstance(row[name], str) for name in COLUMNS[1:]
                ):
                    raise ValueError("a field is of another type")
                rows.append(tuple(row[name] for name in COLUMNS))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "this is not an export of a ledger",
            seen=f"{path}: {error}",
            remedy="give a file that `heygem ledger export` wrote",
        ) from error
    return rows


def write_new(path: PathLike, text: str) -> None:
    """Write a private file that must not exist yet.

    Raises
    ------
    OutputError
        It exists, or cannot be written; then nothing is left.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise OutputError(
            "this would overwrite a file", seen=path, remedy="give another name"
        ) from error
    except OSError as error:
        raise disk.write_error(error, path) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise disk.write_error(error, path) from error
