"""Manifest of a finished item: inputs, parameters, models, code, and the hash of its result.

It is written last and atomically, with the status "done", which proves that the item is finished.
While an item is made, a manifest with the status "begun" marks its folder as heygem's. A result
whose file no longer has the recorded hash is the user's: it is not up to date, nor replaced.
"""

import hashlib
from pathlib import Path
from typing import Any

from heygem.config.params import ENGINES, Params
from heygem.core import assets, plugins
from heygem.core.files import hash_input, read_json
from heygem.core.publish import has_hash
from heygem.core.types import PathLike
from heygem.core.version import code_version
from heygem.lips import predictor
from heygem.pipeline import renderers

SCHEMA = 1


def model_hashes(params: Params) -> dict[str, str]:
    """What identifies each model that affects the result, by name.

    sha256 [hex] of a file; name and version of a model or engine that a package offers.
    """
    hashes = assets.pinned()
    if params.lips.model and predictor.is_installed_name(params.lips.model):
        hashes["lips"] = predictor.identity(params.lips.model)
    elif params.lips.model:
        hashes["lips"] = hash_input(params.lips.model, reread=False)
    else:
        hashes |= {asset.name: asset.sha256 for asset in assets.shipped()}
    if params.engine == "wav2lip":
        from heygem.rendering import wav2lip  # loads PyTorch

        hashes["wav2lip"] = hash_input(params.checkpoint or wav2lip.imported(), reread=False)
    elif params.engine not in ENGINES:
        hashes["engine"] = plugins.identity(renderers.ENTRY_POINTS, params.engine)
    return hashes


def item_id(params: Params, video_sha256: str, audio_sha256: str) -> str:
    """sha256 [hex] that two items share only with equal inputs, parameters, models and code."""
    parts = [params.digest(), video_sha256, audio_sha256]
    parts += [f"{name}={value}" for name, value in sorted(model_hashes(params).items())]
    parts += [code_version()["source_sha256"]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_manifest(content: dict[str, Any] | None) -> bool:
    """Whether a dictionary is the manifest of an item, finished or begun, of any version."""
    return content is not None and {"schema", "id", "status"} <= content.keys()


def records_result(content: dict[str, Any] | None, output: Path) -> bool:
    """Whether a manifest says that this video is its result, unchanged since."""
    return content is not None and has_hash(output, (content.get("output") or {}).get("sha256"))


def records_figure(content: dict[str, Any] | None, path: Path) -> bool:
    """Whether a manifest says that this picture or curve beside it is heygem's, unchanged since.

    One that was begun lists none yet, nor do those of version 0.1: a manifest alone then counts.
    """
    if content is None or not is_manifest(content):
        return False
    return "files" not in content or has_hash(path, content["files"].get(path.name))


def is_up_to_date(content: dict[str, Any] | None, identity: str, output: Path) -> bool:
    """Whether a manifest belongs to this item (see `item_id`) and its file is unchanged."""
    if not content or content.get("id") != identity or content.get("status") != "done":
        return False
    return records_result(content, output)


def results(folder: PathLike) -> list[dict[str, Any]]:
    """Finished videos of an output folder, newest first.

    Returns
    -------
    list of dict
        The manifests, each with "path" (of the video) and "details" (its folder) added; videos
        that are gone are left out.
    """
    manifests = []
    folder = Path(folder)
    for details in [*folder.glob("details/*"), *folder.glob("*/details/*")]:
        content = read_json(details) if details.is_dir() else None
        if not content or "output" not in content:
            continue
        path = (details / content["output"]["file"]).resolve()
        if path.is_file():
            manifests.append({**content, "path": path, "details": details})
    return sorted(manifests, key=lambda content: content.get("finished", ""), reverse=True)
