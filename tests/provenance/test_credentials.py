"""Content Credentials (C2PA)."""

import os
import shutil
import struct

import pytest
from helpers import disks
from helpers.certificates import write_certificate
from helpers.memory import peak_memory

from heygem.core.errors import OutputError
from heygem.provenance import binding, credentials
from heygem.provenance.keys import changes as key_changes


@pytest.mark.slow
def test_one_changed_byte_invalidates_the_credentials(installation, tmp_path):
    data = bytearray(installation.result.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    content = credentials.read(tmp_path / "changed.mp4", installation.keys)
    assert content.state == "Invalid"
    assert credentials.read(installation.result, installation.keys).state == "Trusted"


def test_failed_signing_leaves_the_file_unchanged_and_no_other(installation, tmp_path):
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"not a video at all")
    with pytest.raises(OutputError):
        credentials.sign(path, installation.keys, parent=installation.source, title="1")
    assert path.read_bytes() == b"not a video at all"
    assert [p.name for p in tmp_path.iterdir()] == ["bad.mp4"]


def test_earlier_results_stay_trusted_after_renewal(installation, tmp_path):
    shutil.copytree(installation.keys.folder, tmp_path / "keys")
    renewed = key_changes.renew(tmp_path / "keys")
    assert renewed.chain_pem != installation.keys.chain_pem
    assert credentials.read(installation.result, renewed).state == "Trusted"


def test_an_imported_certificate_signs_and_earlier_results_stay_trusted(installation, tmp_path):
    shutil.copytree(installation.root / "keys", tmp_path / "keys")
    own_keys = key_changes.import_certificate(
        *write_certificate(tmp_path / "own"), tmp_path / "keys"
    )
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(installation.source.read_bytes())
    signed = credentials.sign(copy, own_keys, parent=installation.source, title="1")
    assert signed.state == "Trusted" and "Example Ltd" in signed.signer
    assert credentials.read(installation.result, own_keys).state == "Trusted"


@pytest.mark.fault
def test_a_full_disk_while_signing_is_no_reason_to_switch_signing_off(installation, tmp_path):
    with disks.mounted(tmp_path / "disk", "4m") as disk:
        result = disk / "anna.mp4"
        result.write_bytes(installation.source.read_bytes())
        disks.fill(disk, leave=20_000)
        message = "cannot be written: the disk is full.*B are needed"
        with pytest.raises(OutputError, match=message) as caught:
            credentials.sign(result, installation.keys, parent=installation.source, title="1")
        assert "label.c2pa" not in str(caught.value)
        assert result.read_bytes() == installation.source.read_bytes()
        assert sorted(path.name for path in disk.iterdir()) == ["anna.mp4", "filler"]


def test_no_name_of_a_file_or_folder_leaves_with_the_file(installation):
    data = installation.result.read_bytes()
    assert installation.labeller.produce_id.encode() in data
    content = credentials.read(installation.result, installation.keys)
    assert content.title == installation.labeller.produce_id
    for name in (installation.source.name, installation.result.name, str(installation.root)):
        assert name.encode() not in data


def test_sealing_a_large_file_does_not_take_its_size_in_memory(installation, tmp_path):
    large = _enlarged(installation.source, tmp_path / "large.mp4", 96 << 20)
    with peak_memory() as peak:
        with pytest.raises(OutputError, match="not in the file"):
            binding._overwrite(large, b"a label", b"another")
        signed = credentials.sign(large, installation.keys, parent=large, title="1")
    assert signed.state == "Trusted" and signed.failures == []
    assert peak.added_mb < 64
    with large.open("r+b") as file:
        file.seek(50 << 20)
        file.write(b"1")
    assert credentials.read(large, installation.keys).state == "Invalid"


def test_a_large_file_that_cannot_be_hashed_in_parts_is_hashed_as_one(installation, tmp_path):
    large = tmp_path / "large.mp4"  # the library's parts of two boxes of media data do not verify
    data = installation.source.read_bytes()
    large.write_bytes(data + struct.pack(">I4s", 40 << 20, b"mdat"))
    os.truncate(large, len(data) + (40 << 20))
    signed = credentials.sign(large, installation.keys, parent=installation.source, title="1")
    assert signed.state == "Trusted" and signed.failures == []


def _enlarged(source, path, size):
    """A copy of a film of at least `size` bytes: with more media data than it shows."""
    data = bytearray(source.read_bytes())
    at = 0
    while data[at + 4 : at + 8] != b"mdat":
        at += struct.unpack_from(">I", data, at)[0]
    assert at + struct.unpack_from(">I", data, at)[0] == len(data), "media data comes last"
    struct.pack_into(">I", data, at, size - at)
    path.write_bytes(data)
    os.truncate(path, size)
    return path
