"""A taught person as a folder that can be carried anywhere: `NAME.heygem`.

    avatar.json          what it is, from what, by what right, how good; hashes of the rest
    shown.mp4            the footage that results show, under its own ending
    person.npz           tracks, poses, rest and mouth pictures of all footage
    adapter.safetensors  the person's own articulation, where it was better than the base's
    report.html, *.png   to be looked at

Tracking is in it, so nothing is worked out again on another machine.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from heygem import media
from heygem.avatar import cache
from heygem.avatar.avatar import Avatar
from heygem.core import files
from heygem.core.errors import InputError
from heygem.core.files import BUNDLE_FACTS
from heygem.finetune import adapter
from heygem.finetune.consent import Statement, require_consent
from heygem.lips.model import SHIPPED, LipsModel
from heygem.provenance import consent

FORMAT = "heygem-avatar-1"
FACTS, PERSON, ADAPTER = BUNDLE_FACTS, "person.npz", "adapter.safetensors"
REMEDY = "copy the whole folder again, or make it again with `heygem finetune`"


@dataclass(frozen=True)
class AvatarBundle:
    """What a folder adds to an avatar.

    Attributes
    ----------
    path : Path
    facts : dict
        `avatar.json`.
    """

    path: Path
    facts: dict

    @property
    def sha256(self):
        """Of everything in the folder."""
        return files.sha256(self.path)

    @property
    def footage(self):
        """sha256 of all footage it was learnt from, the shown one first : list of str."""
        return [source["sha256"] for source in self.facts["sources"]]

    @property
    def sources(self):
        """What a result is made from beside the shown footage: dict of name to sha256."""
        more = {f"footage {k}": sha256 for k, sha256 in enumerate(self.footage[1:], 2)}
        learnt = self.facts["files"].get(ADAPTER)
        return more | ({"adapter": learnt} if learnt else {})

    def lips(self, base, *, base_sha256):
        """The person's own lips model; the base where nothing better was learnt.

        Raises
        ------
        AssetError
            It was made for another base.
        """
        if ADAPTER not in self.facts["files"]:
            return base
        return adapter.load(self.path / ADAPTER, base, base_sha256=base_sha256)

    def allow(self, ledger):
        """Go on only where the consent that the folder states still holds; see `allow`.

        Returns
        -------
        str
            What the permission rests on.
        """
        statement = Statement(**self.facts["consent"])
        require_consent(ledger, statement, self.footage, avatar=self.path.name)
        for sha256 in self.sources.values():  # an adapter can be taken down like a recording
            consent.require(ledger, sha256, "", basis="own")
        return statement.basis

    def summary(self):
        """What a result's manifest says of it."""
        keys = ("base_sha256", "kept_base", "seconds", "code", "made")
        return {
            "folder": self.path.name,
            "footage": self.footage,
            "adapter": self.facts["files"].get(ADAPTER),
            "consent": self.facts["consent"],
            **{key: self.facts[key] for key in keys},
        }


def load(path, base=None, *, base_sha256=None):
    """Read a taught person.

    Parameters
    ----------
    path : path
        The `.heygem` folder.
    base : LipsModel, optional
        The lips model it was made for, and its file's sha256; default: the kit's own.

    Returns
    -------
    (Avatar, LipsModel, dict)
        The person with the pictures of all footage, the person's own lips model (the base itself
        where nothing better was learnt), and the facts of `avatar.json`.

    Raises
    ------
    InputError
        Not such a folder, or not whole.
    AssetError
        It was made for another lips model.
    """
    avatar = person(path)
    if base is None:
        base, base_sha256 = LipsModel.load(), files.sha256(SHIPPED)
    return avatar, avatar.bundle.lips(base, base_sha256=base_sha256), avatar.bundle.facts


def person(path):
    """The avatar of a folder, its `taught` set; the files are checked against their hashes."""
    path = Path(path)
    facts = read(path)
    for name, sha256 in facts["files"].items():
        try:
            same = files.sha256(path / name) == sha256
        except OSError as error:
            raise InputError(
                f"{path.name} is not whole", seen=f"no {name}", remedy=REMEDY
            ) from error
        if not same:
            raise InputError(f"{path.name} was changed", seen=name, remedy=REMEDY)
    shown = path / facts["shown"]
    avatar = cache.read(
        path / PERSON, shown, facts["sources"][0]["sha256"], media.probe(shown), Avatar
    )
    if avatar is None:
        raise InputError(f"{path.name} cannot be read", seen=PERSON, remedy=REMEDY)
    return replace(avatar, bundle=AvatarBundle(path, facts))


def read(path):
    """`avatar.json` of a folder.

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
            f"{path.name} is not a taught avatar", seen=f"no readable {FACTS}", remedy=REMEDY
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        seen = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
        raise InputError(
            f"{path.name} is of another version of the kit",
            seen=f"format {seen!r}, {FORMAT!r} wanted",
            remedy="make it again with `heygem finetune`",
        )
    return facts
