"""The record of one finished item: what was made, from what, with what.

It is written last and atomically, so its presence proves that the work is done; a result whose
file no longer has the recorded hash counts as not done.
"""

import functools
import hashlib
import json
import os
import re
import tempfile
import unicodedata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from heygem import assets, wav2lip
from heygem.errors import OutputError
from heygem.params import Params

SCHEMA = 1
FILE = "manifest.json"
MAX_NAME_BYTES = 120  # file systems take 255; suffixes and hidden temporary names need room
# Modules that cannot change a result.
_BYSTANDERS = {"widgets", "training", "evaluate", "cli.py", "batch.py", "tracking.py"}
_BYSTANDERS |= {"notebooks.py", "figures.py", "progress.py", "pairs.py", "items.py", "compare"}
_BYSTANDERS |= {"batch_page.py"}


@functools.cache
def code_version() -> dict[str, str]:
    """Version of the package, and a hash over the sources that shape a result."""
    digest = hashlib.sha256()
    for source in sorted(assets.PACKAGE.rglob("*.py")):
        inside = source.relative_to(assets.PACKAGE)
        if inside.parts[0] not in _BYSTANDERS:
            digest.update(f"{inside.as_posix()}\0".encode())
            digest.update(source.read_bytes())
    try:
        release = version("heygem")
    except PackageNotFoundError:  # run from a checkout that was never installed
        release = "0"
    return {"version": release, "source_sha256": digest.hexdigest()}


def model_hashes(params: Params) -> dict[str, str]:
    """sha256 of each pretrained file that shapes the result."""
    hashes = {asset.name: asset.sha256 for asset in assets.PULLED}
    if params.lips.model:
        hashes["lips"] = assets.sha256(params.lips.model)
    else:
        hashes |= {asset.name: asset.sha256 for asset in assets.shipped()}
    if params.engine == "wav2lip":
        hashes["wav2lip"] = assets.sha256(params.checkpoint or wav2lip.imported())
    return hashes


def item_id(params: Params, video_sha256: str, audio_sha256: str) -> str:
    """What makes two items the same: inputs by content, parameters, models and code."""
    parts = [params.digest(), video_sha256, audio_sha256]
    parts += [f"{name}={value}" for name, value in sorted(model_hashes(params).items())]
    parts += [code_version()["source_sha256"]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def write(folder: Path, content: dict, *, name: str = FILE) -> Path:
    """Write a manifest atomically: complete under its name, or not there at all."""
    target = folder / name
    text = json.dumps(content, ensure_ascii=False, indent=2, default=_plain) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode("utf-8", "surrogateescape"))
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(staged, 0o644)
            os.replace(staged, target)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
        _sync_folder(folder)
    except OSError as error:
        raise OutputError(
            f"cannot write {name} ({error.strerror})",
            seen=folder,
            remedy="check free space and permissions",
        ) from error
    return target


def read(folder: Path, *, name: str = FILE) -> dict | None:
    """A manifest, or None where there is none that can be read."""
    try:
        content = json.loads((folder / name).read_bytes().decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def proves(content: dict | None, identity: str, output: Path) -> bool:
    """Whether a manifest shows that this very item is done and its file is still the same."""
    if not content or content.get("id") != identity or content.get("status") != "done":
        return False
    recorded = (content.get("output") or {}).get("sha256")
    return output.is_file() and assets.sha256(output) == recorded


def safe_name(text: str) -> str:
    """A file name (without extension) for any title: one line, no separators, not too long."""
    name = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f]+', "_", name).strip(" ._-") or "video"
    data = name.encode()
    if len(data) > MAX_NAME_BYTES:
        mark = hashlib.sha256(data).hexdigest()[:8]
        name = data[: MAX_NAME_BYTES - 9].decode("utf-8", "ignore") + "-" + mark
    return name


def _plain(value):
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # numpy scalars
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
