"""Policy of an installation that serves several users: agreement, quotas, limits, reviewers.

The policy is one file; `params/served/policy.yaml` is an example with every key explained. Accounts
are JupyterHub's, and networks, TLS and request rates are the reverse proxy's. Agreements and what
was admitted are recorded in the ledger, from which the daily quota is computed (see
`heygem.server.quota`); `heygem.server.admission` applies the policy.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from heygem import media
from heygem.config import recipes
from heygem.config.params import Params, Settings, checked
from heygem.core.errors import InputError, ParameterError, PolicyError
from heygem.core.types import PathLike
from heygem.media import MediaInfo
from heygem.provenance.ledger import Ledger
from heygem.server.quota import QuotaSettings

FILE_VARIABLE = "HEYGEM_POLICY"  # names the policy file to the service and its workers
# Settings that a user may change: neither labels, nor files, nor code.
_USER_SETTINGS = r"(lips|renderer|face|media|audio)\.(?!model$)\w+|inputs\.language"
#: Keys of earlier versions, and what does their work now.
REMOVED = {
    "users": "accounts are JupyterHub's: choose an authenticator in jupyterhub_config.py",
    "region": "networks are the reverse proxy's: see params/served/nginx.conf",
    "limits.folders": "users send their files to the queue; file permissions decide what they read",
}


class LimitSettings(Settings):
    """Limits on the media that users send."""

    upload_mb: float = Field(500.0, gt=0, description="largest file sent to the queue [MiB]")
    stored_mb: float = Field(
        5000.0, gt=0, description="inputs kept in the queue for each user [MiB]"
    )
    video_minutes: float = Field(10.0, gt=0, description="longest video [min]")
    video_megapixels: float = Field(
        8.3, gt=0, description="largest picture, width times height; 8.3 is 4K [million pixels]"
    )
    sound_minutes: float = Field(10.0, gt=0, description="longest speech [min]")


class Policy(Settings):
    """The policy file; relative paths in it are relative to its own folder."""

    agreement: str = Field(
        "agreement.md",
        min_length=1,
        description="usage agreement: shown before the first job; acceptance is recorded with the "
        "hash of the text, and a changed text must be accepted again",
    )
    recipe: str | None = Field(
        None,
        description="recipe of everything made here: labels, engine, device. Users change "
        "settings of mouth, picture and sound in it; none: heygem's defaults",
    )
    reviewers: str = Field(
        "heygem-reviewers",
        min_length=1,
        description="group of JupyterHub whose members see the results of all users",
    )
    quota: QuotaSettings = Field(
        default_factory=QuotaSettings, description="daily quota of each user"
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="limits on media")


class Rules:
    """A policy file, read and checked together with the files it names.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    policy : Policy
    agreement, version : str
        The text, and the sha256 of it.
    recipe : heygem.config.params.Params
        The installation's settings, before a user's own.

    Raises
    ------
    InputError, ParameterError
        Anything is missing or wrong: nothing is served under rules that cannot be read.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path).absolute()
        tree = recipes.read(self.path)
        _refuse_removed(tree)
        self.policy = policy = checked(Policy, tree)
        self.agreement = _text(self.path.parent / policy.agreement).strip()
        if not self.agreement:
            raise ParameterError("the usage agreement is empty", seen=policy.agreement)
        self.version = hashlib.sha256(self.agreement.encode()).hexdigest()
        recipe = policy.recipe
        self.recipe = Params.from_yaml(self.path.parent / recipe) if recipe else Params()

    # --- the agreement ---

    def has_agreed(self, ledger: Ledger, user: str) -> bool:
        """Whether this user's agreement to the current text is recorded."""
        rows = ledger.entries(kind="agreed", subject=user)
        return any(row.body.get("version") == self.version for row in rows)

    def agree(self, ledger: Ledger, user: str, address: str | None = None) -> None:
        """Record a user's agreement, once for each text."""
        if not self.has_agreed(ledger, user):
            ledger.append("agreed", user, {"version": self.version, "address": address})

    def require_agreement(self, ledger: Ledger, user: str) -> None:
        """Refuse a user who has not agreed to the current text.

        Raises
        ------
        PolicyError
        """
        if not self.has_agreed(ledger, user):
            raise PolicyError(
                "you have not agreed to the usage agreement, or it has changed",
                seen=user,
                remedy="read it and agree: services/heygem/agreement",
            )

    # --- limits ---

    def check_settings(self, changes: Mapping[str, Any]) -> None:
        """Refuse settings that only the owner of the installation may set.

        Raises
        ------
        PolicyError
        """
        forbidden = [key for key in changes if not re.fullmatch(_USER_SETTINGS, key)]
        if forbidden:
            raise PolicyError(
                "only the owner of this installation may set this",
                seen=forbidden[0],
                remedy="leave it out",
            )

    def check_media(self, path: PathLike) -> MediaInfo:
        """Refuse a file that is too large or too long; returns what it is.

        Raises
        ------
        PolicyError, InputError
        """
        limits, info = self.policy.limits, media.probe(path)
        if info.video is not None:
            pixels = info.video.width * info.video.height / 1e6
            _check_limit(
                "the picture is too large", pixels, limits.video_megapixels, "million pixels"
            )
        longest = limits.sound_minutes if info.video is None else limits.video_minutes
        what = "sound" if info.video is None else "video"
        _check_limit(f"the {what} is too long", (info.duration_s or 0.0) / 60, longest, "minutes")
        return info

    def check_speech(self, length_s: float) -> None:
        """Refuse speech that is too long, recorded or written.

        Raises
        ------
        PolicyError
        """
        limit = self.policy.limits.sound_minutes
        _check_limit("the speech is too long", length_s / 60, limit, "minutes")


def _refuse_removed(tree: Any) -> None:
    sections = tree if isinstance(tree, dict) else {}
    for key, replacement in REMOVED.items():
        section, _, name = key.rpartition(".")
        inside = sections.get(section) if section else sections
        if isinstance(inside, dict) and name in inside:
            raise ParameterError(
                f"`{key}` is no longer part of a policy",
                remedy=f"remove it; {replacement} (docs/serving.md)",
            )


def _check_limit(what: str, value: float, most: float, unit: str) -> None:
    if value > most:
        raise PolicyError(what, seen=f"{value:.3g} {unit}", remedy=f"at most {most:g} {unit}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise InputError("a file that the policy names cannot be read", seen=f"{path}: {e}") from e
