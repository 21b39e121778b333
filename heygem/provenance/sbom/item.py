"""One component of the bill of materials."""

import re
from dataclasses import dataclass

PACKAGE = "heygem"


@dataclass(frozen=True)
class Item:
    """One component.

    Attributes
    ----------
    kind : str
        `package`, `bundled` (a library inside a package), `pretrained`, `font`, `data` or
        `capability`.
    licence : str
        SPDX id or expression where there is one. Of a package: all that its files need, with the
        libraries inside it.
    sha256 : str
        Of the file; of the record of installed files, for a package; empty without either.
    published : bool or None
        Whether it is publicly available; None if unknown.
    function : str
        What it is for.
    removable : bool
        Whether heygem still makes videos without it.
    requires : tuple of str
        For a package: names of the installed packages it depends on.
    bundles : tuple of str
        For a package: names of the items of kind `bundled` inside it.
    declared : str
        For a package: the licence in the words of its metadata.
    library : str
        For a bundled library: its name; `name` is its file.
    """

    kind: str
    name: str
    version: str
    origin: str
    licence: str
    sha256: str
    published: bool | None
    function: str
    removable: bool
    requires: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()
    declared: str = ""
    library: str = ""


def normalized(name: str) -> str:
    """A package name as the index normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()
