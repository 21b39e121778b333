"""Files: hashes, writes that are whole or not there at all, and safe names."""

import fcntl
import hashlib
import json
import stat

import numpy as np
import pytest

from heygem.core import files
from heygem.core.errors import InputError, OutputError


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_hash_is_that_of_the_content(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(path) == files.hash_input(str(path)) == digest


def test_hash_of_an_avatar_bundle_is_that_of_its_facts(tmp_path):
    (tmp_path / files.BUNDLE_FACTS).write_text("{}")
    assert files.sha256(tmp_path) == hashlib.sha256(b"{}").hexdigest()


def test_an_input_that_cannot_be_hashed_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file.*missing.wav"):
        files.hash_input(tmp_path / "missing.wav")


def test_a_written_file_is_complete_and_leaves_nothing_beside_it(tmp_path):
    target = tmp_path / "new" / "a.txt"
    assert files.write_text(target, "ä\n", mode=0o600) == target
    assert target.read_bytes() == "ä\n".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    files.write_bytes(target, b"second")
    assert target.read_bytes() == b"second" and not hidden(target.parent)


@pytest.mark.parametrize("durable", [True, False])
def test_after_an_error_the_former_file_stays(tmp_path, durable):
    target = tmp_path / "a.bin"
    target.write_bytes(b"former")
    with pytest.raises(ZeroDivisionError):
        with files.replacing(target, durable=durable) as staged:
            staged.write_bytes(b"half")
            assert staged.parent == tmp_path and target.read_bytes() == b"former"
            raise ZeroDivisionError
    assert target.read_bytes() == b"former" and not hidden(tmp_path)
    with files.replacing(target, durable=durable) as staged:
        staged.write_bytes(b"whole")
    assert target.read_bytes() == b"whole" and not hidden(tmp_path)


def test_while_it_is_written_nobody_else_can_read_it(tmp_path):
    with files.replacing(tmp_path / "a.bin", mode=0o644) as staged:
        assert stat.S_IMODE(staged.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write a.txt"):
        files.write_text(tmp_path / "file" / "a.txt", "")


def test_json_keeps_paths_and_numpy_values_as_plain_ones(tmp_path):
    content = {"path": tmp_path, "mean": np.float32(0.5), "ids": np.arange(3), "text": "你好"}
    files.write_json(tmp_path, content)
    assert files.read_json(tmp_path) == {
        "path": str(tmp_path), "mean": 0.5, "ids": [0, 1, 2], "text": "你好",
    }  # fmt: skip
    assert "你好" in (tmp_path / "manifest.json").read_text("utf-8")


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff\xfe"])
def test_json_that_cannot_be_read_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    assert files.read_json(tmp_path) is None


def test_a_file_name_that_is_no_utf8_survives_json(tmp_path):
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    files.write_json(tmp_path, {"name": name})
    assert files.read_json(tmp_path) == {"name": name}


@pytest.mark.parametrize(
    ("title", "name"),
    [("a/b\\c:d", "a_b_c_d"), (" .hidden. ", "hidden"), ("///", "video"), ("你好", "你好")],
)
def test_safe_name(title, name):
    assert files.safe_name(title) == name


def test_long_names_are_cut_and_stay_different():
    first, second = (files.safe_name("你" * 100 + end) for end in "ab")
    assert first != second
    assert all(len(name.encode()) <= files.MAX_NAME_BYTES for name in (first, second))
    json.dumps([first, second]).encode("ascii")


def test_an_unchanged_input_is_read_once_and_a_changed_bundle_again(tmp_path, monkeypatch):
    bundle = tmp_path / "anna.heygem"
    bundle.mkdir()
    facts = bundle / files.BUNDLE_FACTS
    facts.write_text("first")
    first = files.hash_input(bundle, reread=False)
    assert first == files.sha256(facts)
    with monkeypatch.context() as patch:
        patch.setattr(files, "sha256", lambda path: pytest.fail(f"{path} was read again"))
        assert files.hash_input(bundle, reread=False) == first
    facts.write_text("second, in place: the folder's own time does not change")
    assert files.hash_input(bundle, reread=False) == files.sha256(facts) != first


def is_free(path, mode):
    """Whether another holder could take a lock now."""
    with open(path, "rb+") as stream:
        try:
            fcntl.flock(stream, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_lock_keeps_others_out_until_the_block_ends(tmp_path):
    path = tmp_path / ".lock"
    with pytest.raises(ZeroDivisionError), files.locked(path):
        assert not is_free(path, fcntl.LOCK_SH)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        raise ZeroDivisionError
    assert is_free(path, fcntl.LOCK_EX)
    with files.locked(path, shared=True), files.locked(path, shared=True):
        assert is_free(path, fcntl.LOCK_SH)
        assert not is_free(path, fcntl.LOCK_EX)


def test_a_lock_never_opens_the_file_that_a_link_leads_to(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(OSError), files.locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "a.mp4").exists()


def test_a_file_is_set_aside_under_a_name_that_nothing_has(tmp_path):
    database = tmp_path / "queue.db"
    names = []
    for _ in range(3):  # within one second, or over its end: no name comes twice
        names.append(files.aside_name(database, "damaged"))
        names[-1].symlink_to(tmp_path / "nothing")
    assert len(set(names)) == 3
    assert all(name.name.startswith("queue.db.damaged-") for name in names)
