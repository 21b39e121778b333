"""The files that were lately chosen on this project's pages, newest first."""

import json
import logging
import os
from pathlib import Path

from heygem.batch.input_files import Kind
from heygem.core.errors import HeygemError
from heygem.core.files import locked, write_text
from heygem.core.types import PathLike
from heygem.studio.uploader import upload_folder

log = logging.getLogger(__name__)

FILE = "recent_files.json"
MOST = 20  # of each kind
_PRIVATE = 0o600  # names of people's recordings


def recent_files(kind: Kind) -> list[Path]:
    """Files that were lately chosen and are still there; own uploads and those of the server."""
    return [path for path in map(Path, _read().get(kind, [])) if os.path.exists(path)]


def add_recent(kind: Kind, path: PathLike) -> None:
    """Remember a file as the one that was chosen last; where nothing can be written, do not."""
    newest = str(Path(path).absolute())
    if _read().get(kind, [""])[0] == newest:
        return
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_suffix(".lock")):  # several pages, each a process of its own
            lists = _read()
            others = [other for other in lists.get(kind, []) if other != newest]
            lists[kind] = [newest, *others][:MOST]
            write_text(file, json.dumps(lists, indent=1), mode=_PRIVATE)
    except (HeygemError, OSError) as error:
        log.debug("%s is not remembered: %s", newest, error)


def _file() -> Path:
    return upload_folder().parent / FILE


def _read() -> dict[str, list[str]]:
    try:
        lists = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(lists, dict):
        return {}
    return {kind: [str(path) for path in paths] for kind, paths in lists.items() if _is_list(paths)}


def _is_list(paths: object) -> bool:
    return isinstance(paths, list) and len(paths) > 0
