"""Files that a page sends in parts."""

import json
import os
import urllib.error
import urllib.request

import pytest
from helpers.browser import TOKEN, Server

from heygem.core.errors import InputError, OutputError
from heygem.server import UPLOADS, jupyter, uploads

MB = 1 << 20


@pytest.fixture
def store(tmp_path):
    return uploads.UploadStore(tmp_path / "uploads", max_bytes=100 * MB)


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_file_goes_on_where_it_broke_off_and_appears_when_whole(store):
    content = os.urandom(2 * MB + 7)
    upload, offset = store.announce("anna.mp4", len(content), 17)
    assert offset == 0
    assert store.append(upload, 0, content[:MB]) == (MB, None)
    assert visible(store.folder) == [], "no part is taken for a file"
    again, offset = uploads.UploadStore(store.folder).announce("anna.mp4", len(content), 17)
    assert (again, offset) == (upload, MB), "another server, another day"
    with pytest.raises(uploads.OffsetError) as wrong:
        store.append(upload, 0, content[:MB])
    assert wrong.value.offset == MB
    with pytest.raises(InputError, match="longer"):
        store.append(upload, MB, bytes(2 * MB))
    assert store.append(upload, MB, content[MB : 2 * MB])[1] is None
    present, path = store.append(upload, 2 * MB, content[2 * MB :])
    assert path == store.folder / "anna.mp4" and path.read_bytes() == content
    assert present == len(content) and path.stat().st_mode & 0o077 == 0
    assert list((store.folder / ".parts").iterdir()) == []


def test_a_second_file_of_the_name_replaces_nothing(store):
    paths = []
    for content in (b"one", b"two", b"one"):
        upload, _ = store.announce("a.wav", 3)
        paths.append(store.append(upload, 0, content)[1])
    assert [path.read_bytes() for path in paths] == [b"one", b"two", b"one"]
    assert paths[2] == paths[0] and len(visible(store.folder)) == 2, "sent again: not kept twice"
    assert list((store.folder / ".parts").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd.wav", "passwd.wav"),
        ("C:\\films\\anna.MP4", "anna.MP4"),
        (".hidden.mp4", "hidden.mp4"),
        ("a\nb\x00.mp4", "a_b.mp4"),
        ("语音.wav", "语音.wav"),
        ("x" * 400 + ".mkv", None),
    ],
)
def test_a_name_stays_in_the_folder_and_keeps_its_suffix(store, name, stored):
    upload, _ = store.announce(name, 1)
    path = store.append(upload, 0, b"x")[1]
    assert path.parent == store.folder and path.suffix == "." + name.rpartition(".")[2]
    assert stored is None or path.name == stored


def test_what_cannot_be_stored_is_refused_before_it_is_sent(store, monkeypatch):
    with pytest.raises(InputError, match="too large"):
        store.announce("a.mp4", 101 * MB)
    for name, size in (("a.mp4", 0), ("..", 5), ("", 5)):
        with pytest.raises(InputError):
            store.announce(name, size)
    monkeypatch.setattr(uploads, "SPARE_BYTES", 1 << 60)
    with pytest.raises(OutputError, match="does not fit"):
        store.announce("b.mp4", MB)


@pytest.mark.fault
def test_a_full_disk_leaves_the_parts_that_were_whole(tiny_disk, monkeypatch):
    monkeypatch.setattr(uploads, "SPARE_BYTES", -10 * MB)
    store = uploads.UploadStore(tiny_disk / "uploads")
    upload, _ = store.announce("a.mp4", 4 * MB)
    store.append(upload, 0, bytes(1000))
    with pytest.raises(OutputError, match="cannot be stored"):
        store.append(upload, 1000, bytes(3 * MB))
    assert store.announce("a.mp4", 4 * MB) == (upload, 1000)


def test_parts_that_nobody_went_on_with_are_removed(store):
    old, _ = store.announce("old.mp4", 9)
    for path in (store.folder / ".parts").iterdir():
        os.utime(path, (0, 0))
    store.announce("new.mp4", 9)
    with pytest.raises(InputError, match="no such upload"):
        store.append(old, 0, b"x")


@pytest.mark.slow
def test_the_server_takes_files_above_its_web_sockets_limit_and_from_its_user_only(tmp_path):
    server = Server(jupyter.studio_command, tmp_path)

    def call(method, path, body, token=TOKEN, **headers):
        request = urllib.request.Request(
            f"{server.base}/heygem/api/uploads{path}", body, headers, method=method
        )
        request.add_header("Authorization", f"token {token}")
        request.add_header("Content-Type", "application/octet-stream")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as e:
            return e.code, None

    try:
        content = os.urandom(12 * MB)
        facts = json.dumps({"name": "a.mp4", "size": len(content), "modified": 1}).encode()
        assert call("POST", "", facts, token="wrong")[0] == 403
        status, upload = call("POST", "", facts)
        assert status == 200 and upload["offset"] == 0
        size, answer = upload["part_bytes"], {"offset": 0}
        while "path" not in answer:
            at = answer["offset"]
            status, answer = call(
                "PATCH", f"/{upload['id']}", content[at : at + size], **{"Upload-Offset": str(at)}
            )
            assert status == 200
        assert (tmp_path / UPLOADS / "a.mp4").read_bytes() == content
        assert call("PATCH", f"/{upload['id']}", b"x", **{"Upload-Offset": "0"})[0] == 404
        assert call("PATCH", "/../../x", b"x", **{"Upload-Offset": "0"})[0] == 404
    finally:
        server.close()
