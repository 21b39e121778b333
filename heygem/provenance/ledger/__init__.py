"""The append-only record of what was made from what, by whom and when.

`ledger` is the record itself; `rows` defines a row and its hash, `check` finds what was changed or
removed, `heads` signs the newest row's number and hash, `database` holds the tables, `export`
writes and reads copies for others, `loss` states that rows are gone.
"""

from heygem.provenance.ledger.check import MADE
from heygem.provenance.ledger.heads import Head
from heygem.provenance.ledger.ledger import (
    FILE_NAME,
    Ledger,
    acting_as,
    current_user,
    default_path,
    home,
)
from heygem.provenance.ledger.rows import Entry, Fault, Signer, Verifier

__all__ = [
    "FILE_NAME",
    "MADE",
    "Entry",
    "Fault",
    "Head",
    "Ledger",
    "Signer",
    "Verifier",
    "acting_as",
    "current_user",
    "default_path",
    "home",
]
