"""SPDX licence of an installed package: from its metadata, else from the text of its licence file.

Many packages state no SPDX id: a classifier such as "BSD License" names several licences. The
licence text that comes with the package then decides, by the clause that tells the licences apart.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution

UNKNOWN = "NOASSERTION"  # SPDX's word for a licence that nobody has determined

_IDS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 3-clause license": "BSD-3-Clause",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mit no attribution license (mit-0)": "MIT-0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "new bsd license": "BSD-3-Clause",
    "python software foundation license": "PSF-2.0",
    "the mit license": "MIT",
    "the unlicense (unlicense)": "Unlicense",
}
# Whose files hold several licences of which one may choose.
_BY_NAME = {"python-dateutil": "Apache-2.0 OR BSD-3-Clause"}
# Text of a licence, in lower case with single spaces, to SPDX id; the first match counts.
_TEXTS = (
    ("python software foundation license version 2", "PSF-2.0"),
    ("apache license version 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("mozilla public license version 2.0", "MPL-2.0"),
    ("gnu lesser general public license version 3", "LGPL-3.0-or-later"),
    ("gnu lesser general public license version 2.1", "LGPL-2.1-or-later"),
    ("gnu general public license version 3", "GPL-3.0-or-later"),
    ("gnu general public license version 2", "GPL-2.0-or-later"),
    ("permission to use, copy, modify, and/or distribute this software", "ISC"),
    ("permission is hereby granted, free of charge", "MIT"),
)
_BSD = "redistribution and use in source and binary forms"
# "Neither the name of the project", "The name of the author may not be used": the third clause.
_BSD_NAME = re.compile(r"(neither the names?|names? of .{0,80}may (not )?be used) ?.{0,160}endorse")
_FILE = re.compile(r"(^|/)(licen[cs]e|copying|notice)[^/]*$", re.IGNORECASE)


def declared(package: Distribution) -> str:
    """What the package's metadata state, in their own words; empty without a statement."""
    stated = _fields(package, "License-Expression") or _fields(package, "License")
    lines = [line.strip() for text in stated for line in text.strip().splitlines()[:1]]
    classifiers = [
        name.rsplit(":: ", 1)[-1]
        for name in _fields(package, "Classifier")
        if name.startswith("License ::")
    ]
    return "; ".join(dict.fromkeys([*lines, *classifiers]))[:120]


def spdx(package: Distribution) -> str:
    """The SPDX id or expression of a package; `UNKNOWN` where nothing tells.

    Parameters
    ----------
    package
        An installed distribution.
    """
    from cyclonedx.spdx import fixup_id, is_expression

    if (name := package.metadata["Name"]) in _BY_NAME:
        return _BY_NAME[name]
    for expression in _fields(package, "License-Expression"):
        return expression
    words = declared(package).split("; ")
    for word in words:
        known = _IDS.get(word.lower()) or fixup_id(word) or (is_expression(word) and word)
        if known:
            return known
    found = dict.fromkeys(filter(None, (_licence_of_text(text) for text in _texts(package))))
    return " AND ".join(found) or UNKNOWN


def _fields(package: Distribution, name: str) -> list[str]:
    return [text for text in package.metadata.get_all(name) or [] if text.strip()]


def _texts(package: Distribution) -> Iterator[str]:
    """Licence texts: in the metadata field, and in the files that the package itself names."""
    yield from _fields(package, "License")
    for file in package.files or ():
        in_metadata = ".dist-info/" in file.as_posix() or ".egg-info/" in file.as_posix()
        if in_metadata and _FILE.search(file.as_posix()) and "3rd" not in file.name.lower():
            try:
                yield file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue


def _licence_of_text(text: str) -> str | None:
    """SPDX id of the licence whose text comes first in a file."""
    plain = " ".join(re.sub(r"[*#>\"'`]", " ", text.lower()).split())[:6000]
    starts = {plain.find(words): spdx_id for words, spdx_id in _TEXTS if words in plain}
    if _BSD in plain:
        clauses = plain[plain.find(_BSD) :][:2500]
        starts[plain.find(_BSD)] = "BSD-3-Clause" if _BSD_NAME.search(clauses) else "BSD-2-Clause"
    return starts[min(starts)] if starts else None
