"""Optional parts of libraries that take longer to import than all the rest."""

import contextlib
import sys
from collections.abc import Iterator

#: jsonschema checks internationalised addresses with it. It builds a grammar when it is imported,
#: for more than a second, and no schema that is checked here has such a format.
ADDRESS_GRAMMAR = "rfc3987_syntax"


@contextlib.contextmanager
def without_address_grammar() -> Iterator[None]:
    """Import nbformat, and what needs it, in this block: jsonschema does without the grammar."""
    if ADDRESS_GRAMMAR in sys.modules:
        yield
        return
    sys.modules[ADDRESS_GRAMMAR] = None  # type: ignore[assignment]  # an import of it fails
    try:
        yield
    finally:
        sys.modules.pop(ADDRESS_GRAMMAR, None)
