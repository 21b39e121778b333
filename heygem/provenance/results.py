"""Which files are results of this installation."""

from pathlib import Path

from heygem.core.files import sha256
from heygem.provenance.ledger import MADE, Ledger


def is_result(ledger: Ledger, path: Path) -> bool:
    """Whether the ledger has this very file, not a link to it, as a finished result."""
    if path.is_symlink() or not path.is_file():
        return False
    return bool(ledger.entries(kind=MADE, subject=sha256(path)))
