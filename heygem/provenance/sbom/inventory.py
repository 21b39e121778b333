"""Software bill of materials: every component of heygem on this machine, without a verdict.

Packages with their dependencies and the native libraries inside them, pretrained files, the font,
training data and capabilities. Export control, copyright and procurement need the same facts of
each: version, origin, licence, whether the file is intact, whether it is published, its function,
and whether it can be removed. The machine-readable form is CycloneDX 1.6 (ECMA-424).
"""

import datetime
import hashlib
import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from heygem.config import capabilities
from heygem.core import assets, files, templating
from heygem.core.own_files import OwnFiles
from heygem.core.types import PathLike
from heygem.provenance.sbom.bundled import bundled_libraries
from heygem.provenance.sbom.item import PACKAGE, Item, normalized
from heygem.provenance.sbom.licences import UNKNOWN, declared, spdx

# Name, module, function in words for readers outside the field, and whether it can be left out.
_CAPABILITIES = (
    ("lips", "heygem.lips", "predicts mouth movement from speech", False),
    (
        "renderer",
        "heygem.rendering.warp.renderer",
        "redraws a recorded mouth from the person's own frames",
        False,
    ),
    ("wav2lip", "heygem.rendering.wav2lip", "second engine; users bring its weights", True),
    ("training", "heygem.training", "trains the mouth model on recordings", True),
    ("speech", "heygem.audio.tts", "synthetic voices from text, none of a real person", True),
    ("finetune", "heygem.finetune", "fine-tunes the lips model to one person", True),
    ("labels", "heygem.provenance", "labels every result as AI-made and traces copies", False),
)
_EXTRA = re.compile(r"extra\s*==")
# Labels of project links, most telling first, as the package index normalizes them.
_LINKS = ("source", "sourcecode", "repository", "github", "code", "homepage")
_NOT_STATED = "not stated by the package"


def collect() -> list[Item]:
    """All components on this machine."""
    return [*_packages(), *_pretrained_files(), _font(), *_training_data(), *_capabilities()]


def _packages() -> Iterator[Item]:
    """heygem and all installed packages it depends on, directly or indirectly."""
    pending = [(PACKAGE, False)]
    installed: dict[str, tuple[Distribution, bool]] = {}
    requires: dict[str, list[str]] = {}
    while pending:
        # Required packages first: a package that an extra also names is not removable.
        pending.sort(key=lambda entry: not entry[1])
        name, is_removable = pending.pop()
        key = normalized(name)
        if key in installed:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another system only, or of an extra that is not installed
        installed[key] = (package, is_removable)
        requires[key] = []
        for requirement in package.requires or ():
            is_extra = bool(_EXTRA.search(requirement))
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            # Only heygem's own extras count: those of other packages are not installed for it.
            if match is not None and (not is_extra or key == PACKAGE):
                pending.append((match[0], is_removable or is_extra))
                requires[key].append(normalized(match[0]))
    for key in sorted(installed):
        package, is_removable = installed[key]
        needed = tuple(sorted({name for name in requires[key] if name in installed}))
        yield from _package(package, is_removable, needed)


def _package(package: Distribution, is_removable: bool, requires: tuple[str, ...]) -> list[Item]:
    """A package, and the libraries inside it."""
    name = package.metadata["Name"]
    is_own = normalized(name) == PACKAGE
    bundled = [
        Item(
            "bundled",
            library.file,
            library.version,
            library.origin or "not known",
            _stated(library.licence),
            library.sha256,
            True,
            f"native library {library.name} inside {name}",
            is_removable,
            library=library.name,
        )
        for library in bundled_libraries(package)
    ]
    item = Item(
        "package",
        name,
        package.version,
        "this project" if is_own else _origin(package),
        _combined(spdx(package), [library.licence for library in bundled]),
        _record_hash(package),
        None if is_own else True,
        " ".join(_field(package, "Summary").split())[:120],
        is_removable,
        requires,
        tuple(library.name for library in bundled),
        declared(package) or _NOT_STATED,
    )
    return [item, *bundled]


def _stated(licence: str) -> str:
    return _NOT_STATED if licence == UNKNOWN else licence


def _combined(own: str, bundled: list[str]) -> str:
    """A package's licence together with those of the libraries inside it, as one expression."""
    licences = dict.fromkeys([_stated(own), *sorted(set(bundled))])
    licences.pop(_NOT_STATED, None)
    if not licences:
        return _NOT_STATED
    if len(licences) == 1:
        return next(iter(licences))
    return " AND ".join(f"({each})" if " OR " in each else each for each in licences)


def _field(package: Distribution, name: str) -> str:
    """A metadata field, empty if missing."""
    return (package.metadata.get_all(name) or [""])[0]


def _origin(package: Distribution) -> str:
    """Where the project is developed, as the package says; else its page at the package index."""
    pairs = [link.split(",", 1) for link in package.metadata.get_all("Project-URL") or []]
    links = {re.sub(r"[^a-z]", "", label.lower()): link.strip() for label, link in pairs}
    for label in _LINKS:
        if label in links:
            return links[label]
    hosts = re.compile(r"https?://(github|gitlab)\.com/[^/]+/[^/]+/?$")
    hosted = [link for link in links.values() if hosts.match(link)]
    page = f"https://pypi.org/project/{normalized(package.metadata['Name'])}/"
    return _field(package, "Home-page") or next(iter(hosted), page)


def _record_hash(package: Distribution) -> str:
    record = package.read_text("RECORD")
    return hashlib.sha256(record.encode()).hexdigest() if record else ""


def _pretrained_files() -> Iterator[Item]:
    for entry in assets.inventory():
        asset = entry.asset
        is_own = asset.member is None
        yield Item(
            "pretrained",
            asset.name,
            asset.sha256[:12],
            asset.source,
            asset.licence,
            asset.sha256 if entry.state == "ok" else f"{entry.state}; should be {asset.sha256}",
            None if is_own else True,
            asset.purpose,
            False,
        )


def _font() -> Item:
    path = Path(__file__).parents[1] / "fonts" / "NotoSansCJKsc-Bold-subset.otf"
    return Item(
        "font",
        "Noto Sans CJK SC Bold, subset",
        "2.004",
        "https://github.com/googlefonts/noto-cjk",
        "OFL-1.1",
        files.sha256(path),
        True,
        "letters of the visible label",
        False,
    )


def _training_data() -> Iterator[Item]:
    """Training data of heygem's own weights, as their model cards state it."""
    for asset in assets.shipped():
        card = (assets.WEIGHTS / asset.name).with_suffix(".md")
        if card.is_file():
            yield Item(
                "data",
                f"training data of {asset.name}",
                "",
                f"see the model card heygem/lips/weights/{card.name}",
                "see the model card",
                files.sha256(card),
                None,
                "speech and mouth movement that the weights were trained on",
                True,
            )


def _capabilities() -> Iterator[Item]:
    for name, module, function, is_removable in _CAPABILITIES:
        try:
            is_present = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            is_present = False
        is_switchable = name in capabilities.PARTS
        if is_switchable:
            is_present = capabilities.enabled(name)
            state = "on" if is_present else "off, left out"
            function += f" (capabilities.{name}: {state})"
        if is_present or is_switchable:
            yield Item(
                "capability", name, "", module, "Apache-2.0", "", None, function, is_removable
            )


_TITLES = {
    "capability": "What it can do",
    "pretrained": "Pretrained files",
    "data": "Data behind heygem's own weights",
    "font": "Fonts",
    "package": "Packages",
    "bundled": "Native libraries inside packages",
}


def report(items: list[Item]) -> str:
    """The components as Markdown tables."""
    sections = [
        (title, [item for item in items if item.kind == kind]) for kind, title in _TITLES.items()
    ]
    return templating.render(
        "heygem.provenance",
        "sbom.md",
        filters={"escape_pipes": lambda text: text.replace("|", "\\|")},
        now=datetime.datetime.now(datetime.UTC),
        sections=[(title, chosen) for title, chosen in sections if chosen],
        yes_no={True: "yes", False: "no", None: "-"},
    )


def write(items: list[Item], folder: PathLike) -> list[Path]:
    """Write `inventory.md` and `sbom.cdx.json`.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    OutputError
        The folder cannot be written, or holds files of the user under these names.
    """
    from cyclonedx.output.json import JsonV1Dot6

    from heygem.provenance.sbom.cyclonedx import cyclonedx_bom

    document = JsonV1Dot6(cyclonedx_bom(items)).output_as_string(indent=1)
    contents = {"inventory.md": report(items), "sbom.cdx.json": document + "\n"}
    own_files = OwnFiles(folder)
    own_files.check(*contents)
    for name, text in contents.items():
        with own_files.writing(name) as staged:
            staged.write_text(text, encoding="utf-8")
    return [own_files.folder / name for name in contents]
