"""Results of a process that was killed between giving a file its name and recording it.

The ledger has the hash of a finished file before the file gets its name, with all that it was made
of. A file under the name of an item, whose row names the item's inputs, settings, models and code,
is that item's result: it gets its manifest, and is not made again.
"""

from pathlib import Path
from typing import Any

from heygem import media
from heygem.batch.item import checks, manifest
from heygem.batch.items import Item
from heygem.config.params import ENGINES, Params
from heygem.core import assets
from heygem.core.errors import HeygemError
from heygem.core.files import sha256
from heygem.core.version import code_version
from heygem.pipeline import Result
from heygem.provenance.ledger import MADE, Entry, Ledger, default_path

NOTE = "the process was killed before it had recorded this video; recovered from the ledger"


def find_result(
    item: Item, video_sha256: str, audio_sha256: str, *, ledger: Ledger | None = None
) -> Result | None:
    """The result of an item, if it stands under its name without a manifest.

    Parameters
    ----------
    item : Item
    video_sha256, audio_sha256 : str
        Of the inputs.
    ledger : optional
        Default: this installation's.

    Returns
    -------
    heygem.pipeline.Result or None
        Without timings and trajectory, which are lost.
    """
    path = item.output
    if path.is_symlink() or not path.is_file() or item.params.engine != ENGINES[0]:
        return None  # other engines' models are not in the ledger
    if ledger is None:
        if not default_path().is_file():
            return None
        ledger = Ledger()
    for entry in ledger.entries(kind=MADE, subject=sha256(path)):
        if _is_of(entry, item, video_sha256, audio_sha256):
            return _result(path, entry)
    return None


def _is_of(entry: Entry, item: Item, video_sha256: str, audio_sha256: str) -> bool:
    body = entry.body
    try:
        params = Params.from_dict(body["params"])
        sources, models = body["sources"], dict(body["models"])
        lips = models.pop("lips")
    except (HeygemError, KeyError, TypeError, ValueError):
        return False
    return bool(
        sources.get("video") == video_sha256
        and sources.get("sound") == audio_sha256
        and params.digest() == item.params.digest()
        and lips in manifest.model_hashes(item.params).values()
        and models == assets.pinned()
        and body.get("code") == code_version()
    )


def _result(path: Path, entry: Entry) -> Result | None:
    try:
        frames = checks.count_frames(path)
        duration_s = float(media.probe(path).duration_s or 0.0)
    except HeygemError:
        return None
    label: dict[str, Any] = {
        "produce_id": entry.body.get("produce_id"),
        "watermark_id": entry.watermark_id or None,
        "layers": entry.body.get("layers", {}),
        "notes": [],
        "box": entry.body.get("label_box"),
        "ledger_row": entry.number,
        "ledger_hash": entry.hash,
    }
    facts = {"label": label, "engine": ENGINES[0], "notes": [NOTE]}
    return Result(path, facts, duration_s, frames, {}, {}, [], None)
