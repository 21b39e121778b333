"""Software bill of materials: every component of heygem on this machine, without a verdict.

Packages with their dependencies, pretrained files, the font, training data and capabilities. Export
control, copyright and procurement need the same facts of each: version, origin, licence, whether
the file is intact, whether it is published, its function, and whether it can be removed. The
machine-readable form is CycloneDX 1.6 (ECMA-424).
"""

import datetime
import hashlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from heygem.config import capabilities
from heygem.core import assets, files, templating
from heygem.core.types import PathLike

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

PACKAGE = "heygem"


@dataclass(frozen=True)
class Item:
    """One component.

    Attributes
    ----------
    kind : str
        `package`, `pretrained`, `font`, `data` or `capability`.
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
# SPDX ids of the classifiers that name one licence; "BSD License", for example, names several.
_SPDX_IDS = {
    "Apache Software License": "Apache-2.0",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def collect() -> list[Item]:
    """All components on this machine."""
    return [*_packages(), *_pretrained_files(), _font(), *_training_data(), *_capabilities()]


def _normalized(name: str) -> str:
    """A package name as the index normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _packages() -> Iterator[Item]:
    """heygem and all installed packages it depends on, directly or indirectly."""
    pending = [(PACKAGE, False)]
    installed: dict[str, tuple[Distribution, bool]] = {}
    requires: dict[str, list[str]] = {}
    while pending:
        # Required packages first: a package that an extra also names is not removable.
        pending.sort(key=lambda entry: not entry[1])
        name, is_removable = pending.pop()
        key = _normalized(name)
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
                requires[key].append(_normalized(match[0]))
    for key in sorted(installed):
        package, is_removable = installed[key]
        yield Item(
            "package",
            package.metadata["Name"],
            package.version,
            _origin(package),
            _licence(package),
            _record_hash(package),
            True if key != PACKAGE else None,
            " ".join(_field(package, "Summary").split())[:120],
            is_removable,
            tuple(sorted({name for name in requires[key] if name in installed})),
        )


def _field(package: Distribution, name: str) -> str:
    """A metadata field, empty if missing."""
    return (package.metadata.get_all(name) or [""])[0]


def _licence(package: Distribution) -> str:
    from cyclonedx.spdx import is_supported_id

    expression = _field(package, "License-Expression")
    if expression:
        return expression
    classifiers = package.metadata.get_all("Classifier") or []
    names = "; ".join(c.rsplit(":: ", 1)[-1] for c in classifiers if c.startswith("License ::"))
    text = (_field(package, "License").strip().splitlines() or [""])[0][:80]
    # A classifier such as "BSD License" names several licences; an SPDX id names one.
    stated = text if names not in _SPDX_IDS and is_supported_id(text) else names or text
    return stated or "not stated in its metadata"


def _origin(package: Distribution) -> str:
    links = [link.split(",", 1) for link in package.metadata.get_all("Project-URL") or []]
    for keyword in ("source", "repository", "code", "homepage"):
        for label, link in links:
            if keyword in label.lower():
                return link.strip()
    page = _field(package, "Home-page") or (links[0][1].strip() if links else "")
    return page or f"Python package index: {package.metadata['Name']}"


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
    path = Path(__file__).parent / "fonts" / "NotoSansCJKsc-Bold-subset.otf"
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


def cyclonedx_bom(items: list[Item]) -> "Bom":
    """The components as a CycloneDX document with its dependency graph.

    heygem itself is the document's subject; it depends on its direct requirements and on every
    pretrained file, font, data set and capability.
    """
    from cyclonedx.contrib.this.builders import this_component
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

    components = {(item.kind, _normalized(item.name)): _component(item) for item in items}
    subject = components.pop(
        ("package", PACKAGE),
        Component(name=PACKAGE, type=ComponentType.APPLICATION, bom_ref=f"package:{PACKAGE}"),
    )
    subject.type = ComponentType.APPLICATION
    bom = Bom(components=components.values())
    bom.metadata.component = subject
    bom.metadata.tools.components.add(this_component())
    parts = [component for (kind, _), component in components.items() if kind != "package"]
    bom.register_dependency(subject, parts)
    for item in items:
        if item.kind == "package":
            name = _normalized(item.name)
            dependent = subject if name == PACKAGE else components["package", name]
            required = [("package", needed) for needed in item.requires if needed != PACKAGE]
            bom.register_dependency(
                dependent, [components[key] for key in required if key in components]
            )
    return bom


def _component(item: Item) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    types = {
        "package": ComponentType.LIBRARY,
        "pretrained": ComponentType.MACHINE_LEARNING_MODEL,
        "font": ComponentType.FILE,
        "data": ComponentType.DATA,
        "capability": ComponentType.APPLICATION,
    }
    facts = {
        "kind": item.kind,
        "origin": item.origin,
        "published": item.published,
        "removable": item.removable,
    }
    is_file_hash = item.kind != "package" and re.fullmatch(r"[0-9a-f]{64}", item.sha256)
    purl = None
    if item.kind == "package":
        purl = PackageURL("pypi", name=_normalized(item.name), version=item.version)
    return Component(
        type=types[item.kind],
        name=item.name,
        version=item.version or None,
        bom_ref=f"{item.kind}:{item.name}",
        description=item.function,
        licenses=[_cyclonedx_licence(item.licence)],
        purl=purl,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=item.sha256)] if is_file_hash else [],
        properties=[
            Property(name=f"heygem:{name}", value=str(value)) for name, value in facts.items()
        ],
    )


def _cyclonedx_licence(stated: str) -> "License":
    """A licence by its SPDX id or expression if it has one, else by the name stated."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    return LicenseFactory().make_from_string(_SPDX_IDS.get(stated, stated))


def write(items: list[Item], folder: PathLike) -> list[Path]:
    """Write `inventory.md` and `sbom.cdx.json`.

    Returns
    -------
    list of Path
        The two files.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    from cyclonedx.output.json import JsonV1Dot6

    readable = files.write_text(Path(folder) / "inventory.md", report(items))
    document = JsonV1Dot6(cyclonedx_bom(items)).output_as_string(indent=1)
    machine = files.write_text(Path(folder) / "sbom.cdx.json", document + "\n")
    return [readable, machine]
