"""A fine-tuned avatar as a folder that can be copied to other machines: `NAME.heygem`.

    avatar.json          format, sources, consent, held-out numbers; hashes of the other files
    shown.mp4            the footage that results show, with the suffix of its file
    person.npz           tracks, poses, rest and mouth pictures of all footage
    adapter.safetensors  the fine-tuned lips model, if it was better than the base
    report.html, *.png   a report for people

It holds the tracks, so nothing is computed again on another machine.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from heygem import media
from heygem.avatar import Avatar, cache
from heygem.core import assets, files
from heygem.core.errors import InputError
from heygem.core.files import BUNDLE_FACTS
from heygem.core.types import PathLike
from heygem.finetune import adapter
from heygem.finetune.consent import Statement, require_consent
from heygem.lips.model import SHIPPED, LipsModel
from heygem.provenance import consent
from heygem.provenance.ledger import Ledger

FORMAT = "heygem-avatar-1"
FACTS, PERSON, ADAPTER = BUNDLE_FACTS, "person.npz", "adapter.safetensors"
REMEDY = "copy the whole folder again, or make it again with `heygem finetune`"


@dataclass(frozen=True)
class AvatarBundle:
    """What a `.heygem` folder adds to an avatar.

    Attributes
    ----------
    path : Path
    facts : dict
        `avatar.json`.
    """

    path: Path
    facts: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Hash of everything in the folder."""
        return files.sha256(self.path)

    @property
    def footage(self) -> list[str]:
        """sha256 of all footage, the shown one first."""
        return [source["sha256"] for source in self.facts["sources"]]

    @property
    def sources(self) -> dict[str, str]:
        """What a result is made from beside the primary video: name to sha256."""
        more = {f"footage {k}": sha256 for k, sha256 in enumerate(self.footage[1:], 2)}
        adapter_sha256 = self.facts["files"].get(ADAPTER)
        return more | ({"adapter": adapter_sha256} if adapter_sha256 else {})

    def lips(self, base: LipsModel, *, base_sha256: str) -> LipsModel:
        """The fine-tuned lips model; the base where that was no better.

        One that was made for the lips model of an earlier version is applied to that: it is still
        part of the package.

        Raises
        ------
        AssetError
            It was made for another base.
        """
        if ADAPTER not in self.facts["files"]:
            return base
        shipped = {asset.sha256: asset.name for asset in assets.shipped()}
        made_for = str(self.facts.get("base_sha256"))
        if made_for != base_sha256 and {made_for, base_sha256} <= set(shipped):
            base = LipsModel.load(assets.path(shipped[made_for]))
            base_sha256 = made_for
        return adapter.load(self.path / ADAPTER, base, base_sha256=base_sha256)

    def authorize(self, ledger: Ledger) -> str:
        """Check that the consent stated in the folder still holds; see `require_consent`.

        Returns
        -------
        str
            Basis of the permission: `own`, `synthetic` or `recorded`.

        Raises
        ------
        ConsentError
            Blocked, withdrawn or expired.
        """
        statement = Statement(**self.facts["consent"])
        require_consent(ledger, statement, self.footage, avatar=self.path.name)
        for sha256 in self.sources.values():  # an adapter can be blocked like a recording
            consent.require_unblocked(ledger, "avatar", sha256)
        return statement.basis

    def summary(self) -> dict[str, Any]:
        """Its record in the manifest of a result."""
        keys = ("base_sha256", "kept_base", "seconds", "code", "made")
        return {
            "folder": self.path.name,
            "footage": self.footage,
            "adapter": self.facts["files"].get(ADAPTER),
            "consent": self.facts["consent"],
            **{key: self.facts[key] for key in keys},
        }


def load(
    path: PathLike, base: LipsModel | None = None, *, base_sha256: str = ""
) -> tuple[Avatar, LipsModel, dict[str, Any]]:
    """Read a fine-tuned avatar and its lips model.

    Parameters
    ----------
    path : path
        The `.heygem` folder.
    base : LipsModel, optional
        The lips model it was made for, and its file's sha256; default: the bundled one.

    Returns
    -------
    (Avatar, LipsModel, dict)
        The avatar with the pictures of all footage, the fine-tuned lips model (the base itself
        where that was no better), and the facts of `avatar.json`.

    Raises
    ------
    InputError
        Not such a folder, or incomplete.
    AssetError
        It was made for another lips model.
    """
    avatar = person(path)
    bundle = avatar.bundle
    assert isinstance(bundle, AvatarBundle)
    if base is None:
        base, base_sha256 = LipsModel.load(), files.sha256(SHIPPED)
    return avatar, bundle.lips(base, base_sha256=base_sha256), bundle.facts


def person(path: PathLike) -> Avatar:
    """Read the avatar, its `bundle` set; all files are checked against their hashes."""
    path = Path(path)
    facts = read(path)
    for name in (*facts["files"], facts["shown"]):
        if name != Path(name).name:
            raise InputError(f"{path.name} names a file outside it", seen=name, remedy=REMEDY)
    for name, sha256 in facts["files"].items():
        try:
            is_unchanged = files.sha256(path / name) == sha256
        except OSError as error:
            raise InputError(
                f"{path.name} is not complete", seen=f"no {name}", remedy=REMEDY
            ) from error
        if not is_unchanged:
            raise InputError(f"{path.name} was changed", seen=name, remedy=REMEDY)
    video = path / facts["shown"]
    footage_sha256 = facts["sources"][0]["sha256"]
    avatar = cache.read(path / PERSON, video, footage_sha256, media.probe(video))
    if avatar is None:
        raise InputError(f"{path.name} cannot be read", seen=PERSON, remedy=REMEDY)
    return replace(avatar, bundle=AvatarBundle(path, facts))


def is_own(path: Path) -> bool:
    """Whether a folder is an avatar bundle and holds nothing else, so that it may be replaced."""
    if path.is_symlink():
        return False
    try:
        listed = {FACTS, *read(path)["files"]}
    except (InputError, KeyError, TypeError):
        return False
    return {entry.name for entry in path.iterdir()} <= listed


def read(path: PathLike) -> dict[str, Any]:
    """Read the `avatar.json` of a folder.

    Raises
    ------
    InputError
        There is none that this version reads.
    """
    path = Path(path)
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path.name} is not a fine-tuned avatar", seen=f"no readable {FACTS}", remedy=REMEDY
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        file_format = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
        raise InputError(
            f"{path.name} was made by another version of heygem",
            seen=f"format {file_format!r}, {FORMAT!r} wanted",
            remedy="make it again with `heygem finetune`",
        )
    return facts
