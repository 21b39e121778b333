"""The keys of one installation: for signatures, Content Credentials and the watermark.

`installed` loads and makes them; `ring` is the file that holds them, with those that were replaced;
`certificates` issues the chain, `public` has the halves that may be shown, `changes` renews and
rotates, `succession` records such changes in the ledger, `backup` saves and restores.
"""

from heygem.provenance.keys.installed import (
    Keys,
    continue_with_new,
    ensure,
    folder,
    init,
    load,
    load_for_reading,
)

__all__ = [
    "Keys",
    "continue_with_new",
    "ensure",
    "folder",
    "init",
    "load",
    "load_for_reading",
]
