"""The folder beside the results that holds an item's manifest and pictures."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from heygem.batch.item import manifest
from heygem.batch.item.begun_mark import BEGUN, MANIFEST
from heygem.batch.items import Item
from heygem.core.errors import HeygemError, OutputError
from heygem.core.files import read_json, sha256, write_json
from heygem.core.folders import make_private_folder
from heygem.core.logs import RUN_LOG
from heygem.core.publish import always, free_name, publishing
from heygem.core.version import code_version
from heygem.experiments import figures
from heygem.pipeline import Result
from heygem.provenance.picture import save_labelled

log = logging.getLogger(__name__)

THUMBNAIL = "thumbnail.jpg"
_PRIVATE = 0o600  # paths and pictures of people
_FIGURES = ("contact_sheet.png", "lip_curve.png", "lip_curve.csv", THUMBNAIL)
#: Stills that are kept while a film is made, for `save_figures`, and their longer side: that of a
#: card in the gallery.
STILLS, STILL_PX = figures.COLUMNS * figures.ROWS, 480


def check(item: Item, *, is_result: bool) -> None:
    """Refuse a folder of details that holds somebody else's files.

    Parameters
    ----------
    item : Item
    is_result : bool
        Whether the item's video is known as an earlier result, so that the folder is as well,
        even if its manifest is damaged.

    Raises
    ------
    OutputError
    """
    folder = item.details
    if is_result or not folder.is_dir() or manifest.is_manifest(read_json(folder)):
        return
    names = {path.name for path in folder.iterdir()} - {RUN_LOG}
    if item.params.inputs.overwrite or all(name[0] == "." for name in names):
        return
    raise OutputError(
        f"the folder for the manifest of {item.name} holds files that heygem did not make",
        seen=folder,
        remedy=f"use a free name, such as {free_name(item.output).stem}, or another folder; or "
        "replace them with --overwrite (inputs.overwrite: true)",
    )


def begin(item: Item, item_id: str) -> bool:
    """Mark the folder as heygem's before anything is made; returns whether that was new.

    A manifest of an earlier result stays: until the new one is there, it says whose that is.
    """
    if manifest.is_manifest(read_json(item.details)):
        return False
    content = {
        "schema": manifest.SCHEMA,
        "id": item_id,
        "status": BEGUN,
        "name": item.name,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    make_private_folder(make_private_folder(item.details.parent) / item.details.name)
    write_json(item.details, content, name=MANIFEST, mode=_PRIVATE)
    return True


def abandon(item: Item) -> None:
    """Remove the mark of an item that was not made."""
    (item.details / MANIFEST).unlink(missing_ok=True)


def discard(item: Item) -> None:
    """Remove a result that turned out to be damaged, and its manifest; never a file of the user."""
    content = read_json(item.details)
    if manifest.records_result(content, item.output):
        item.output.unlink(missing_ok=True)
    if manifest.is_manifest(content):
        abandon(item)


def save_figures(result: Result, item: Item) -> list[str]:
    """Write contact sheet, lip curve and thumbnail; returns a warning for each that fails."""
    sheet, curve_plot, curve, thumbnail = _FIGURES
    savers: dict[str, Callable[[Path], Any]] = {
        sheet: lambda path: save_labelled(
            figures.contact_sheet(item.output, result.stills), path, item.params.label
        ),
        thumbnail: lambda path: save_labelled(
            figures.middle_frame(item.output, result.stills, longest_px=STILL_PX),
            path,
            item.params.label,
        ),
    }
    motion = result.trajectory
    if motion is not None:
        savers[curve_plot] = lambda path: figures.lip_curve(motion).savefig(path, dpi=110)
        savers[curve] = lambda path: figures.save_curve(motion, path)
    earlier = read_json(item.details)
    may_replace = (
        always if item.params.inputs.overwrite else partial(manifest.records_figure, earlier)
    )

    def save_one(name: str, save: Callable[[Path], Any]) -> str | None:
        try:
            with publishing(item.details / name, may_replace=may_replace) as staged:
                save(staged)
                staged.chmod(_PRIVATE)
        except HeygemError as error:
            return str(error)
        except Exception as error:
            log.exception("no %s of %r", name, item.name)
            return f"{name} could not be drawn: {type(error).__name__}"
        return None

    with ThreadPoolExecutor(2) as pool:  # sheet and curve take a tenth of a second each
        saved = [
            pool.submit(copy_context().run, save_one, name, save) for name, save in savers.items()
        ]
    return [warning for future in saved if (warning := future.result()) is not None]


def finish(
    item: Item,
    result: Result,
    *,
    item_id: str,
    video_sha256: str,
    audio_sha256: str,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Write the manifest of a finished item, which proves that it is finished; returns it."""
    inputs = item.params.inputs
    text = {"text": inputs.text, "voice": inputs.voice} if inputs.audio is None else {}
    content = {
        **(result.manifest or {}),
        "schema": manifest.SCHEMA,
        "id": item_id,
        "status": "done",
        "name": item.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "video": {"path": str(item.video), "sha256": video_sha256},
        "audio": {"path": inputs.audio, "sha256": audio_sha256, **text},
        "output": {
            "file": os.path.relpath(item.output, item.details),
            "sha256": sha256(item.output),
            "bytes": item.output.stat().st_size,
            "duration_s": result.duration_s,
            "frames": result.frames,
        },
        "files": _file_hashes(item),
        "skipped_frames": dict(result.skipped_frames),
        "params": item.params.tree(),
        "params_sha256": item.params.digest(),
        "models": manifest.model_hashes(item.params),
        "code": code_version(),
        "timings": dict(result.timings),
        "warnings": list(warnings),
    }
    write_json(item.details, content, name=MANIFEST, mode=_PRIVATE)
    return content


def _file_hashes(item: Item) -> dict[str, str]:
    """sha256 [hex] of the pictures and curves, by name."""
    paths = sorted(item.details.iterdir()) if item.details.is_dir() else []
    return {path.name: sha256(path) for path in paths if path.name in _FIGURES}
