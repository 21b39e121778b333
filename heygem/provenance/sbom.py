"""What the kit is made of, for those who must answer for it: a listing, and no verdict.

Everything it needs to run: packages (with what they need in turn), pretrained files, the font, and
what the kit can do. Export control, copyright and procurement ask the same questions of each: which
version, from where, under which licence, is it the file it should be, is it published, what is it
for, can it be taken out. The machine-readable form is a CycloneDX 1.6 bill of materials (ECMA-424).
"""

import datetime
import hashlib
import importlib.util
import json
import re
import uuid
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from heygem.config import capabilities
from heygem.core import assets, files
from heygem.core.errors import OutputError

PACKAGE = "heygem"


@dataclass(frozen=True)
class Item:
    """One thing the kit is made of.

    Attributes
    ----------
    kind : str
        `package`, `pretrained`, `font`, `data` or `capability`.
    sha256 : str
        Of the file; of the record of installed files, for a package; empty where there is none.
    published : bool or None
        Whether anybody can get it; None where that is not known.
    function : str
        What it is for.
    removable : bool
        Whether the kit still makes videos without it.
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


# What can be switched off or left out, and what it is, in words for people outside the trade.
_CAPABILITIES = (
    ("lips", "heygem.lips", "predicts mouth movement from speech", False),
    (
        "renderer",
        "heygem.rendering.warp.renderer",
        "redraws a recorded mouth from the person's own frames",
        False,
    ),
    (
        "wav2lip",
        "heygem.rendering.wav2lip",
        "second engine; its weights are brought by the user",
        True,
    ),
    ("training", "heygem.training", "trains the mouth model on recordings", True),
    ("speech", "heygem.audio.tts", "synthetic voices from text, none of a real person", True),
    ("finetune", "heygem.finetune", "few-shot: teaches the mouth model one person", True),
    ("labels", "heygem.provenance", "labels every result as AI-made and traces copies", False),
)
_OPTIONAL = re.compile(r"extra\s*==")


def collect():
    """Everything, as found on this machine: list of Item."""
    return [*_packages(), *_pretrained(), _font(), *_data(), *_capabilities()]


def _packages():
    todo, seen = [(PACKAGE, False)], {}
    while todo:
        # What is needed is gone through before what only an extra wants.
        todo.sort(key=lambda entry: not entry[1])
        name, removable = todo.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # needed on another system only, or an extra that is not installed
        seen[key] = (found, removable)
        for need in found.requires or ():
            extra = bool(_OPTIONAL.search(need))
            # Only the kit's own extras are of interest: other packages' are not installed for us.
            if not extra or key == PACKAGE:
                todo.append((re.match(r"[A-Za-z0-9._-]+", need)[0], removable or extra))
    for key in sorted(seen):
        found, removable = seen[key]
        yield Item(
            "package",
            found.metadata["Name"],
            found.version,
            _origin(found),
            _licence(found),
            _record_hash(found),
            True if key != PACKAGE else None,
            " ".join((found.metadata.get("Summary") or "").split())[:120],
            removable,
        )


def _licence(found):
    meta = found.metadata
    stated = meta.get("License-Expression") or ""
    if not stated:
        classes = [c for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
        stated = "; ".join(c.rsplit(":: ", 1)[-1] for c in classes)
    if not stated:
        lines = (meta.get("License") or "").strip().splitlines()
        stated = lines[0][:80] if lines else ""
    return stated or "not stated in its metadata"


def _origin(found):
    links = [link.split(",", 1) for link in found.metadata.get_all("Project-URL") or []]
    for wanted in ("source", "repository", "code", "homepage"):
        for label, link in links:
            if wanted in label.lower():
                return link.strip()
    page = found.metadata.get("Home-page") or (links[0][1].strip() if links else "")
    return page or f"Python package index: {found.metadata['Name']}"


def _record_hash(found):
    record = found.read_text("RECORD")
    return hashlib.sha256(record.encode()).hexdigest() if record else ""


def _pretrained():
    for entry in assets.inventory():
        asset = entry.asset
        ours = asset.member is None
        yield Item(
            "pretrained",
            asset.name,
            asset.sha256[:12],
            asset.source,
            asset.licence,
            asset.sha256 if entry.state == "ok" else f"{entry.state}; should be {asset.sha256}",
            True if not ours else None,
            asset.purpose,
            False,
        )


def _font():
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


def _data():
    """What our own weights were trained on, as their model cards say it."""
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
                "speech and mouth movement the weights were learnt from",
                True,
            )


def _capabilities():
    for name, module, function, removable in _CAPABILITIES:
        try:
            present = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            present = False
        switchable = name in capabilities.PARTS
        if switchable:
            present = capabilities.enabled(name)
            function += f" (capabilities.{name}: {'on' if present else 'off, left out'})"
        if present or switchable:
            yield Item("capability", name, "", module, "Apache-2.0", "", None, function, removable)


def report(items):
    """The listing as Markdown."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# Inventory",
        "",
        f"Written {now} on the machine it describes. For counsel: it lists facts as the components",
        "state them, and draws no conclusion about export, licence or labelling duties.",
    ]
    titles = {
        "capability": "What it can do",
        "pretrained": "Pretrained files",
        "data": "Data behind our own weights",
        "font": "Fonts",
        "package": "Packages",
    }
    for kind, title in titles.items():
        chosen = [item for item in items if item.kind == kind]
        if not chosen:
            continue
        lines += ["", f"## {title} ({len(chosen)})", ""]
        lines += [
            "| Name | Version | Licence | Origin | Published | Removable | Function | sha256 |"
        ]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += ["| " + " | ".join(_row(item)) + " |" for item in chosen]
    return "\n".join(lines) + "\n"


_HEADS = ("Name", "Version", "Licence", "Origin", "Published", "Removable", "Function", "sha256")


def _row(item):
    said = {True: "yes", False: "no", None: "-"}
    cells = (
        item.name,
        item.version or "-",
        item.licence,
        item.origin,
        said[item.published],
        said[item.removable],
        item.function,
        item.sha256 or "-",
    )
    return [cell.replace("|", "\\|") for cell in cells]


def bill_of_materials(items):
    """The listing as a CycloneDX 1.6 document: dict."""
    kinds = {"package": "library", "pretrained": "machine-learning-model", "font": "file",
             "data": "data", "capability": "application"}  # fmt: skip
    components = []
    for item in items:
        component = {
            "type": kinds[item.kind],
            "bom-ref": f"{item.kind}:{item.name}",
            "name": item.name,
            "description": item.function,
            "licenses": [{"license": {"name": item.licence}}],
            "properties": [
                {"name": f"heygem:{key}", "value": str(value)}
                for key, value in asdict(item).items()
                if key in ("origin", "published", "removable", "kind")
            ],
        }
        if item.version:
            component["version"] = item.version
        if item.kind == "package":
            name = re.sub(r"[-_.]+", "-", item.name).lower()
            component["purl"] = f"pkg:pypi/{name}@{item.version}"
        if re.fullmatch(r"[0-9a-f]{64}", item.sha256) and item.kind != "package":
            component["hashes"] = [{"alg": "SHA-256", "content": item.sha256}]
        components.append(component)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "component": {"type": "application", "name": PACKAGE},
        },
        "components": components,
    }


def write(items, folder):
    """Write `inventory.md` and `sbom.cdx.json`; returns their paths."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        readable, machine = folder / "inventory.md", folder / "sbom.cdx.json"
        readable.write_text(report(items), encoding="utf-8")
        text = json.dumps(bill_of_materials(items), ensure_ascii=False, indent=1)
        machine.write_text(text + "\n", encoding="utf-8")
    except OSError as e:
        raise OutputError("the inventory cannot be written", seen=f"{folder}: {e}") from e
    return [readable, machine]
