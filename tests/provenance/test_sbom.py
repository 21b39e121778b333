"""The software bill of materials."""

import json
from importlib.metadata import Distribution
from pathlib import Path

import av
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import is_expression, is_supported_id
from cyclonedx.validation.json import JsonStrictValidator

from heygem.core import assets, files
from heygem.provenance import sbom
from heygem.provenance.sbom import bundled as sbom_bundled
from heygem.provenance.sbom import licences as sbom_licences
from heygem.provenance.sbom.cyclonedx import cyclonedx_bom
from heygem.provenance.sbom.item import Item


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_components_have_purl_licence_and_hash(document):
    components = {each["name"]: each for each in document["components"]}
    numpy = components["numpy"]
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    licences = {name: components[name]["licenses"][0] for name in ("mlflow", "librosa", "Jinja2")}
    assert licences["mlflow"]["license"]["id"] == "Apache-2.0"
    assert licences["librosa"]["license"]["id"] == "ISC"
    assert licences["Jinja2"]["license"]["id"] == "BSD-3-Clause"  # by its text
    lips = components["lips.safetensors"]
    (asset,) = [each for each in assets.shipped() if each.name == "lips.safetensors"]
    assert lips["type"] == "machine-learning-model"
    assert lips["hashes"] == [{"alg": "SHA-256", "content": asset.sha256}]


@pytest.mark.slow
def test_the_dependency_graph_follows_the_packages(document):
    edges = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert document["metadata"]["component"]["bom-ref"] == "package:heygem"
    assert {"package:librosa", "pretrained:lips.safetensors"} <= set(edges["package:heygem"])
    assert "package:soxr" in edges["package:librosa"]
    assert "package:soxr" not in edges["package:heygem"]  # needed by librosa alone
    references = {each["bom-ref"] for each in document["components"]} | {"package:heygem"}
    assert len(references) == len(document["components"]) + 1
    assert {ref for refs in edges.values() for ref in refs} | set(edges) == references


@pytest.mark.slow
def test_every_package_has_an_spdx_licence_and_an_origin_of_its_own(document):
    origins = []
    for component in document["components"]:
        if not component["bom-ref"].startswith("package:"):
            continue
        (licence,) = component["licenses"]
        text = licence.get("expression") or licence["license"].get("id")
        assert text and (is_expression(text) or is_supported_id(text)), component["name"]
        (reference,) = component["externalReferences"]
        origins.append(reference["url"])
    assert len(set(origins)) > 0.9 * len(origins)  # some projects publish several packages
    wrong = ("codecov", "tidelift", "CODE_OF_CONDUCT", "funding", "sponsor")
    assert not [url for url in origins if any(word.lower() in url.lower() for word in wrong)]


@pytest.mark.slow
def test_libraries_inside_wheels_are_components_and_count_in_the_licence(document):
    """PyAV calls itself BSD, and its wheel carries x264 and x265; OpenCV's an LGPL FFmpeg."""
    components = {each["bom-ref"]: each for each in document["components"]}
    edges = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    site = Path(av.__file__).parents[1]
    for package, library, spdx_id in (
        ("av", "x264", "GPL-2.0-or-later"),
        ("av", "x265", "GPL-2.0-or-later"),
        ("opencv-python", "avcodec", "LGPL-2.1-or-later"),
        ("espeakng-loader", "espeak-ng", "GPL-3.0-or-later"),
    ):
        whole = components[f"package:{package}"]["licenses"][0]
        assert spdx_id in str(whole), package
        inside = [components[ref] for ref in edges[f"package:{package}"] if "bundled:" in ref]
        (found,) = [each for each in inside if each["name"].startswith(library)]
        assert found["licenses"][0]["license"]["id"] == spdx_id
        properties = {each["name"]: each["value"] for each in found["properties"]}
        digest = files.sha256(site / properties["heygem:file"])
        assert found["hashes"] == [{"alg": "SHA-256", "content": digest}]
    bundled = [each for ref, each in components.items() if ref.startswith("bundled:")]
    assert len(bundled) > 60 and all(each["hashes"] for each in bundled)


@pytest.mark.parametrize(
    ("text", "spdx_id"),
    [
        ("Redistribution and use in source and binary forms ... neither the name of the project "
         "nor the names of its contributors may be used to endorse", "BSD-3-Clause"),
        ("Redistribution and use in source and binary forms, with or without", "BSD-2-Clause"),
        ("# The MIT License\n\nPermission is hereby granted, free of charge, to any", "MIT"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n  Version 2.1, February 1999", "LGPL-2.1-or-later"),
        ("All rights reserved.", None),
    ],
)  # fmt: skip
def test_a_licence_is_known_by_its_text(text, spdx_id):
    assert sbom_licences._licence_of_text(text) == spdx_id


@pytest.mark.parametrize(
    ("file", "name", "version"),
    [
        ("libx264-d6533a8d.so.165", "x264", "165"),
        ("libquadmath-96973f99-934c22de.so.0.0.0", "quadmath", "0.0.0"),
        ("libsndfile_x86_64.so", "sndfile", ""),
        ("libespeak-ng.so.1.52.0", "espeak-ng", "1.52.0"),
    ],
)
def test_a_bundled_library_is_known_by_its_file_name(tmp_path, file, name, version):
    (tmp_path / "x.libs").mkdir()
    (tmp_path / "x.libs" / file).write_bytes(b"library")
    info = tmp_path / "x-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
    (info / "RECORD").write_text(f"x.libs/{file},,\nx.libs/missing.so,,\n")
    (library,) = sbom_bundled.bundled_libraries(Distribution.at(info))
    assert (library.name, library.version, library.file) == (name, version, f"x.libs/{file}")


def test_a_missing_file_has_no_hash():
    item = Item("pretrained", "x", "1", "y", "MIT", "missing; should be ab", True, "z", False)
    (component,) = cyclonedx_bom([item]).components
    assert not component.hashes


@pytest.mark.slow
def test_the_command_writes_both_files_and_its_earlier_name_still_works(command, tmp_path):
    assert command("sbom", "--out", tmp_path / "a").exit_code == 0
    earlier = command("inventory", "--out", tmp_path / "b")
    assert earlier.exit_code == 0 and "now called heygem sbom" in earlier.stderr
    assert {path.name for path in (tmp_path / "b").glob("[!.]*")} == {
        "inventory.md",
        "sbom.cdx.json",
    }
    assert "Pretrained files" in command("sbom").stdout
