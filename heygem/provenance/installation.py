"""Rules that an installation sets for everybody who uses it: `settings.yaml` beside the ledger.

`label.consent` in a recipe is what one user states about one video. An organisation can set what
holds where a recipe states nothing, and which statements it accepts at all:

    consent:
      default: recorded
      allowed: [recorded, synthetic]
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from heygem.config import recipes
from heygem.config.settings import Settings, checked
from heygem.core.errors import ConsentError
from heygem.core.types import PathLike

FILE_NAME = "settings.yaml"
Basis = Literal["own", "synthetic", "recorded"]


class ConsentRules(Settings):
    """Which bases for showing a person count here."""

    default: Basis = Field("own", description="basis where a recipe states none")
    allowed: tuple[Basis, ...] = Field(
        ("own", "synthetic", "recorded"), min_length=1, description="bases that are accepted"
    )

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if self.default not in self.allowed:
            raise ValueError(f"`default: {self.default}` is not among `allowed`")
        return self


class InstallationSettings(Settings):
    """The whole file."""

    consent: ConsentRules = Field(default_factory=ConsentRules, description="consent of people")


def read(folder: PathLike) -> InstallationSettings:
    """The settings of the installation whose ledger is in `folder`; defaults without a file.

    Raises
    ------
    InputError, ParameterError
        The file is there and cannot be read, or is wrong: it is never passed over in silence.
    """
    path = Path(folder) / FILE_NAME
    return checked(InstallationSettings, recipes.read(path) if path.exists() else {})


def consent_basis(folder: PathLike, stated: str | None) -> str:
    """The basis that holds: the stated one, or the installation's default.

    Raises
    ------
    ConsentError
        The installation does not accept it.
    """
    rules = read(folder).consent
    basis = stated or rules.default
    if basis not in rules.allowed:
        raise ConsentError(
            f"this installation does not accept label.consent: {basis}",
            seen=f"{Path(folder) / FILE_NAME} allows {', '.join(rules.allowed)}",
            remedy="record the person's consent with `heygem consent add`"
            if "recorded" in rules.allowed
            else f"use {' or '.join(rules.allowed)}",
        )
    return basis
