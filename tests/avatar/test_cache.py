"""A damaged cache file is tracked again, whatever is damaged; nothing in it is ever run."""

import io
import pickle
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers import disks

from heygem import avatar
from heygem.avatar import cache
from heygem.config.params import FaceSettings
from heygem.core.errors import Notice
from heygem.face.topology import LOWER


@pytest.fixture
def stored(hopper_avatar, tmp_path):
    """The portrait's avatar on disk."""
    cache.write(tmp_path / "a.npz", hopper_avatar)
    return tmp_path / "a.npz"


def read(stored, hopper_avatar):
    return cache.read(stored, hopper_avatar.path, hopper_avatar.sha256, hopper_avatar.info)


def rewrite(stored, name, content):
    """Replace one array of the file, with right checksums."""
    with zipfile.ZipFile(stored) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members[name] = content(members[name])
    with zipfile.ZipFile(stored, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def header(text):
    """The content of a .npy file with any text as its header."""
    data = text.encode()
    return b"\x93NUMPY\x01\x00" + len(data).to_bytes(2, "little") + data + b"\0" * 64


DAMAGED_HEADERS = [
    "{'descr': '<f4', ((((",  # TokenError
    "{'descr': '<f4', 'fortran_order': False, 'shape': (",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (10**12, 10**6), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000, 3), }",  # MemoryError
    "{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "\0\0\0\0",
    "__import__('os').system('true')",
]


def test_posture_and_expression_are_stored_and_earlier_files_have_none(hopper_avatar, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "speech_posture": rng.normal(size=(len(LOWER), 3)).astype(np.float32),
        "expression": rng.normal(size=(len(hopper_avatar.track), 2, 2)).astype(np.float32),
    }
    for name, expected in (("now.npz", arrays), ("earlier.npz", dict.fromkeys(arrays))):
        cache.write(tmp_path / name, replace(hopper_avatar, **expected))
        stored = read(tmp_path / name, hopper_avatar)
        for key, values in expected.items():
            np.testing.assert_array_equal(getattr(stored, key), values)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("text", DAMAGED_HEADERS)
def test_a_damaged_header_counts_as_no_file(stored, hopper_avatar, text):
    rewrite(stored, "points.npy", lambda _: header(text))
    assert read(stored, hopper_avatar) is None


@pytest.mark.fault
def test_a_pickle_in_the_file_is_not_run(stored, hopper_avatar, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    payload = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        payload, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    payload.write(pickle.dumps(Attack()))
    rewrite(stored, "points.npy", lambda _: payload.getvalue())
    assert read(stored, hopper_avatar) is None
    assert not (tmp_path / "written").exists()


@pytest.mark.fault
@pytest.mark.slow
def test_a_byte_changed_anywhere_is_noticed_or_without_effect(stored, hopper_avatar):
    whole = stored.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        stored.write_bytes(damaged)
        again = read(stored, hopper_avatar)
        if again is not None:  # a time stamp or an attribute of the archive
            np.testing.assert_array_equal(again.track.points, hopper_avatar.track.points)
            np.testing.assert_array_equal(again.usable, hopper_avatar.usable)
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        stored.write_bytes(whole[:length])
        assert read(stored, hopper_avatar) is None


@pytest.mark.slow
@pytest.mark.fault
def test_a_damaged_cache_file_is_made_again(hopper_still, faces, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path))
    avatar.load(hopper_still, FaceSettings(), backend=faces)
    (stored,) = (tmp_path / "avatars").iterdir()
    rewrite(stored, "points.npy", lambda _: header(DAMAGED_HEADERS[0]))
    damaged = stored.read_bytes()
    again = avatar.load(hopper_still, FaceSettings(), backend=faces)
    assert again.usable.all() and stored.read_bytes() != damaged
    assert [path.name for path in (tmp_path / "avatars").iterdir()] == [stored.name]


@pytest.mark.fault
def test_a_full_cache_costs_a_notice_and_not_the_avatar(tiny_disk, hopper_avatar):
    disks.fill(tiny_disk, leave=100_000)
    with pytest.warns(Notice, match="cannot be kept.*disk is full.*HEYGEM_HOME"):
        cache.keep(tiny_disk / "a.npz", hopper_avatar)
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.keep(tiny_disk.parent / "elsewhere.npz", hopper_avatar)
