"""A store that was moved or copied to another folder, as a whole project is.

MLflow records the absolute address of every run's artifacts. In a copy these would still lead into
the original: new artifacts would be written there, and old ones vanish with it.
"""

import contextlib
import logging
import os
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOCK_WAIT_S = 20.0  # for another process that writes
ARTIFACTS = "artifacts"  # folder of the artifacts of all experiments, in that of the store
_ADDRESSES = (("experiments", "artifact_location"), ("runs", "artifact_uri"))

log = logging.getLogger(__name__)


def adopt_artifacts(folder: Path, database: Path) -> int:
    """Let the runs of a store that was moved here find their artifacts here.

    Parameters
    ----------
    folder : Path
        Of the store, absolute.
    database : Path

    Returns
    -------
    int
        Number of experiments whose artifacts were elsewhere. Addresses that heygem did not choose
        (not `STORE/artifacts/NAME`) stay as they are.
    """
    here = f"{folder.as_uri()}/{ARTIFACTS}/"
    try:
        store = contextlib.closing(sqlite3.connect(database, timeout=LOCK_WAIT_S))
        with store as connection, connection:
            rows = connection.execute("SELECT name, artifact_location FROM experiments").fetchall()
            moved = [(name, place) for name, place in rows if _is_elsewhere(name, place, folder)]
            for name, place in moved:
                new = here + _folder_name(place)
                for table, column in _ADDRESSES:
                    # No LIKE: `_` and `%` are common in names of folders.
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (new, len(place) + 1, place, len(place) + 1, place + "/"),
                    )
                log.info("the runs of %s now have their artifacts in %s", name, new)
    except sqlite3.OperationalError as error:  # locked or read-only: as before, MLflow decides
        log.warning("the artifacts of %s were not looked up: %s", database, error)
        return 0
    return len(moved)


def _folder_name(place: str) -> str:
    return place.rstrip("/").rpartition("/")[2]


def _is_elsewhere(name: str, place: str | None, folder: Path) -> bool:
    """Whether an experiment's artifacts belong to a store in another folder than `folder`."""
    if not place or urlsplit(place).scheme != "file":
        return False
    path = Path(unquote(urlsplit(place).path))
    if path.parent.name != ARTIFACTS or path.name != name.replace("/", "_"):
        return False
    store = path.parents[1]
    if store == folder:
        return False
    # Another name of the same folder, such as a symbolic link, leads here as well.
    return not (store.is_dir() and os.path.samefile(store, folder))
