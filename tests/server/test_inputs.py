"""Files that users send to the queue."""

import hashlib
import os
import time

import pytest

from heygem.core.errors import InputError, PolicyError
from heygem.server.admission import user_folder
from heygem.server.inputs import UNUSED_S, InputStore

MIB = 2**20


@pytest.fixture
def store(tmp_path):
    return InputStore(tmp_path / "inputs", upload_mb=1, stored_mb=1.5)


def name(data, suffix=".wav"):
    return hashlib.sha256(data).hexdigest() + suffix


def send(store, owner, data, *, size=None, as_name=None):
    upload = store.receive(owner, as_name or name(data), len(data) if size is None else size)
    upload.write(data[:10])
    upload.write(data[10:])
    return upload.finish()


def files(store):
    return [path for path in store.folder.rglob("*") if path.is_file()]


def test_a_file_is_kept_under_the_hash_of_its_content(store):
    path = send(store, "anna", b"sound" * 10)
    assert path.read_bytes() == b"sound" * 10 and path == store.path("anna", path.name)
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.fault
def test_what_did_not_arrive_whole_is_not_there(store):
    data = b"sound" * 10
    for wrong in (
        lambda: send(store, "anna", data, size=len(data) + 1),
        lambda: send(store, "anna", data, size=len(data) - 1),
        lambda: send(store, "anna", data, as_name=name(b"other")),
    ):
        with pytest.raises(InputError, match="whole|larger"):
            wrong()
    upload = store.receive("anna", name(data), len(data))
    upload.write(data[:10])
    upload.abandon()  # the connection was closed
    with pytest.raises(InputError, match="not sent"):
        store.path("anna", name(data))


def test_a_refused_upload_leaves_nothing(store):
    upload = store.receive("anna", name(b"x"), 1)
    with pytest.raises(InputError, match="larger"):
        upload.write(b"xy")
    upload.abandon()
    assert files(store) == []


def test_size_of_a_file_and_of_all_of_a_user(store):
    with pytest.raises(PolicyError, match="file is too large.*at most 1 MiB"):
        store.receive("anna", name(b""), MIB + 1)
    send(store, "anna", bytes(MIB))
    with pytest.raises(PolicyError, match="inputs take too much.*at most 1.5 MiB"):
        store.receive("anna", name(b"1"), MIB)
    send(store, "bert", bytes(MIB))  # each user has their own


@pytest.mark.parametrize("bad", ["../x.wav", "x.wav", "0" * 64, "0" * 64 + "./x", "0" * 64 + ".W"])
def test_a_name_is_a_hash_and_a_suffix(store, bad):
    for ask in (lambda: store.receive("anna", bad, 1), lambda: store.path("anna", bad)):
        with pytest.raises(InputError):
            ask()


def test_what_no_job_uses_is_removed_after_a_day(store):
    used, unused, fresh = (send(store, "anna", text) for text in (b"one", b"two", b"three"))
    old = time.time() - UNUSED_S - 60
    for path in (used, unused):
        os.utime(path, (old, old))
    assert store.remove_unused({used}) == [unused]
    assert sorted(files(store)) == sorted([used, fresh])


def test_no_two_users_share_a_folder():
    users = ["anna", "Anna", "a/b", "a_b", "..", ".", "ünal", "a b", "x" * 200, ""]
    users += [user_folder(user) for user in users]
    folders = [user_folder(user) for user in dict.fromkeys(users)]
    assert len({folder.casefold() for folder in folders}) == len(folders)
    assert all("/" not in folder and folder.strip(".") for folder in folders)
