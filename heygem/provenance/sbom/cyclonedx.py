"""The bill of materials as a CycloneDX 1.6 document (ECMA-424), by the standard's own library."""

import re

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from packageurl import PackageURL

from heygem.provenance.sbom.item import PACKAGE, Item, normalized


def cyclonedx_bom(items: list[Item]) -> Bom:
    """The components as a CycloneDX document with its dependency graph.

    heygem itself is the document's subject; it depends on its direct requirements and on every
    pretrained file, font, data set and capability.
    """
    components = {(item.kind, normalized(item.name)): _component(item) for item in items}
    subject = components.pop(
        ("package", PACKAGE),
        Component(name=PACKAGE, type=ComponentType.APPLICATION, bom_ref=f"package:{PACKAGE}"),
    )
    subject.type = ComponentType.APPLICATION
    bom = Bom(components=components.values())
    bom.metadata.component = subject
    bom.metadata.tools.components.add(this_component())
    for item in items:
        if item.kind == "package":
            name = normalized(item.name)
            dependent = subject if name == PACKAGE else components["package", name]
            required = [("package", needed) for needed in item.requires if needed != PACKAGE]
            required += [("bundled", normalized(library)) for library in item.bundles]
            bom.register_dependency(
                dependent, [components[key] for key in required if key in components]
            )
    own = [c for (kind, _), c in components.items() if kind not in ("package", "bundled")]
    bom.register_dependency(subject, own)
    return bom


def _component(item: Item) -> Component:
    types = {
        "package": ComponentType.LIBRARY,
        "bundled": ComponentType.LIBRARY,
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
    if item.kind == "package":
        facts |= {"declared-licence": item.declared, "record-sha256": item.sha256}
    if item.library:
        facts["file"] = item.name
    is_file_hash = item.kind != "package" and re.fullmatch(r"[0-9a-f]{64}", item.sha256)
    purl = None
    if item.kind == "package" and normalized(item.name) != PACKAGE:  # heygem is not in the index
        purl = PackageURL("pypi", name=normalized(item.name), version=item.version)
    return Component(
        type=types[item.kind],
        name=item.library or item.name,
        version=item.version or None,
        bom_ref=f"{item.kind}:{item.name}",
        description=item.function,
        licenses=[_cyclonedx_licence(item.licence)],
        purl=purl,
        external_references=_references(item.origin),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=item.sha256)] if is_file_hash else [],
        properties=[
            Property(name=f"heygem:{name}", value=str(value)) for name, value in facts.items()
        ],
    )


def _cyclonedx_licence(stated: str) -> License:
    """A licence by its SPDX id or expression if it has one, else by the name stated."""
    return LicenseFactory().make_from_string(stated)


def _references(origin: str) -> list[ExternalReference]:
    """Where a component comes from, if it is a link."""
    if not origin.startswith(("http://", "https://")):
        return []
    is_repository = re.match(r"https?://(github|gitlab)\.com/", origin) is not None
    kind = ExternalReferenceType.VCS if is_repository else ExternalReferenceType.WEBSITE
    return [ExternalReference(type=kind, url=XsUri(origin))]
