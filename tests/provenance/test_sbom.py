"""The software bill of materials."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from heygem.core import assets
from heygem.provenance import sbom


@pytest.fixture(scope="module")
def items():
    return sbom.collect()


@pytest.fixture(scope="module")
def folder(items, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sbom")
    assert [path.name for path in sbom.write(items, folder)] == ["inventory.md", "sbom.cdx.json"]
    return folder


@pytest.fixture(scope="module")
def document(folder):
    return json.loads((folder / "sbom.cdx.json").read_text(encoding="utf-8"))


def test_the_listing_names_packages_models_and_the_font(items, folder):
    text = (folder / "inventory.md").read_text(encoding="utf-8")
    assert "face_landmark.tflite" in text and "OFL-1.1" in text and "no conclusion" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(items) + text.count("## ")  # one row per item, one header per table
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}


@pytest.mark.slow
def test_the_document_is_valid_cyclonedx(folder):
    text = (folder / "sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_components_have_purl_licence_and_hash(document):
    components = {each["name"]: each for each in document["components"]}
    numpy = components["numpy"]
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    licences = {name: components[name]["licenses"][0] for name in ("scipy", "mlflow", "librosa")}
    assert licences["mlflow"]["license"]["id"] == "Apache-2.0"
    assert licences["librosa"]["license"]["id"] == "ISC"
    lips = components["lips.safetensors"]
    (asset,) = [each for each in assets.shipped() if each.name == "lips.safetensors"]
    assert lips["type"] == "machine-learning-model"
    assert lips["hashes"] == [{"alg": "SHA-256", "content": asset.sha256}]


def test_the_dependency_graph_follows_the_packages(document):
    edges = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert document["metadata"]["component"]["bom-ref"] == "package:heygem"
    assert {"package:librosa", "pretrained:lips.safetensors"} <= set(edges["package:heygem"])
    assert "package:numba" in edges["package:librosa"]
    assert "package:numba" not in edges["package:heygem"]  # needed by librosa alone
    references = {each["bom-ref"] for each in document["components"]} | {"package:heygem"}
    assert len(references) == len(document["components"]) + 1
    assert {ref for refs in edges.values() for ref in refs} | set(edges) == references


def test_a_missing_file_has_no_hash():
    item = sbom.Item("pretrained", "x", "1", "y", "MIT", "missing; should be ab", True, "z", False)
    (component,) = sbom.cyclonedx_bom([item]).components
    assert not component.hashes


@pytest.mark.slow
def test_the_command_writes_both_files_and_its_earlier_name_still_works(command, tmp_path):
    assert command("sbom", "--out", tmp_path / "a").exit_code == 0
    earlier = command("inventory", "--out", tmp_path / "b")
    assert earlier.exit_code == 0 and "now called heygem sbom" in earlier.stderr
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"inventory.md", "sbom.cdx.json"}
    assert "Pretrained files" in command("sbom").stdout
