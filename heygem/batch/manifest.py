"""Manifest of a finished item: inputs, parameters, models, code, and the hash of its result.

It is written last and atomically, so its presence proves that the item is finished. A result whose
file no longer has the recorded hash counts as unfinished.
"""

import hashlib
from pathlib import Path
from typing import Any

from heygem.config.params import ENGINES, Params
from heygem.core import assets, plugins
from heygem.core.files import hash_input, sha256
from heygem.core.version import code_version
from heygem.lips import predictor
from heygem.pipeline import renderers
from heygem.rendering import wav2lip

SCHEMA = 1


def model_hashes(params: Params) -> dict[str, str]:
    """What identifies each model that affects the result, by name.

    sha256 [hex] of a file; name and version of a model or engine that a package offers.
    """
    hashes = {asset.name: asset.sha256 for asset in assets.PULLED}
    if params.lips.model and predictor.is_installed_name(params.lips.model):
        hashes["lips"] = plugins.identity(predictor.ENTRY_POINTS, params.lips.model)
    elif params.lips.model:
        hashes["lips"] = hash_input(params.lips.model)
    else:
        hashes |= {asset.name: asset.sha256 for asset in assets.shipped()}
    if params.engine == "wav2lip":
        hashes["wav2lip"] = hash_input(params.checkpoint or wav2lip.imported())
    elif params.engine not in ENGINES:
        hashes["engine"] = plugins.identity(renderers.ENTRY_POINTS, params.engine)
    return hashes


def item_id(params: Params, video_sha256: str, audio_sha256: str) -> str:
    """sha256 [hex] that two items share only with equal inputs, parameters, models and code."""
    parts = [params.digest(), video_sha256, audio_sha256]
    parts += [f"{name}={value}" for name, value in sorted(model_hashes(params).items())]
    parts += [code_version()["source_sha256"]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_up_to_date(content: dict[str, Any] | None, identity: str, output: Path) -> bool:
    """Whether a manifest belongs to this item (see `item_id`) and its file is unchanged."""
    if not content or content.get("id") != identity or content.get("status") != "done":
        return False
    recorded = (content.get("output") or {}).get("sha256")
    return output.is_file() and sha256(output) == recorded
