"""Inputs and results of a cluster in a shared folder, in memory and in an S3 store."""

import hashlib
import os

import pytest

pytest.importorskip("fsspec")

import fsspec  # noqa: E402

from heygem.batch.cluster import storage  # noqa: E402
from heygem.batch.cluster.cache import InputCache  # noqa: E402
from heygem.core.errors import InputError, OutputError  # noqa: E402
from heygem.core.files import is_address  # noqa: E402


@pytest.fixture(scope="module")
def s3_server():
    """Address of an S3 server on the loopback interface."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """An empty bucket; the credentials are in the environment, as on a node."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{os.urandom(4).hex()}"
    fsspec.filesystem("s3").mkdir(bucket)
    yield f"s3://{bucket}/night"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["path", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def location(request, tmp_path):
    """A folder of results of each kind."""
    if request.param == "s3":
        return request.getfixturevalue("s3")
    if request.param == "memory":
        return f"memory://{tmp_path.name}-{os.urandom(4).hex()}"
    return str(tmp_path / "share")


def write(path, content):
    path.write_bytes(content)
    return path


def names(location):
    fs, root = storage.open_filesystem(location)
    return sorted(path.rpartition("/")[2] for path in fs.find(root))


def never(_name):
    return False


def test_a_result_is_uploaded_whole_and_read_back(location, tmp_path):
    folder = storage.Folder(location)
    source = write(tmp_path / "made.mp4", os.urandom(100_000))
    folder.put(source, "anna.mp4", may_replace=never)
    assert names(location) == ["anna.mp4"]  # no temporary file is left
    assert folder.sha256("anna.mp4") == hashlib.sha256(source.read_bytes()).hexdigest()
    folder.put(write(tmp_path / "m.json", b'{"id": 1}'), "details/anna/manifest.json")
    assert folder.read_json("details/anna/manifest.json") == {"id": 1}
    assert folder.read_json("details/bob/manifest.json") is None


def test_somebody_elses_file_stays(location, tmp_path):
    folder = storage.Folder(location)
    folder.put(write(tmp_path / "theirs", b"theirs"), "anna.mp4", may_replace=never)
    before = folder.state("anna.mp4")
    with pytest.raises(OutputError, match="is there already"):
        folder.put(write(tmp_path / "ours", b"ours"), "anna.mp4", may_replace=never)
    assert folder.state("anna.mp4") == before
    assert names(location) == ["anna.mp4"]
    folder.put(tmp_path / "ours", "anna.mp4", may_replace=lambda name: name == "anna.mp4")
    assert folder.state("anna.mp4") != before
    assert folder.sha256("anna.mp4") == hashlib.sha256(b"ours").hexdigest()


@pytest.mark.fault
def test_an_upload_that_breaks_off_leaves_no_result(location, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "FIRST_WAIT_S", 0.0)
    folder = storage.Folder(location)
    source = write(tmp_path / "made.mp4", os.urandom(1000))

    def half_copy(source, target, *args, **kwargs):
        write(tmp_path / "half", b"x" * 500)
        if folder.is_local:
            target.write_bytes(b"x" * 500)
        else:
            folder._fs.pipe_file(target, b"x" * 500)

    monkeypatch.setattr(storage, "copy_content", half_copy)
    monkeypatch.setattr(folder._fs, "put_file", half_copy)
    with pytest.raises(storage.StorageError):
        folder.put(source, "anna.mp4")
    assert names(location) == []


@pytest.mark.fault
def test_a_short_loss_of_the_network_is_waited_out(location, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "FIRST_WAIT_S", 0.0)
    folder = storage.Folder(location)
    folder.put(write(tmp_path / "a", b"a"), "a.mp4")
    lost = iter([ConnectionResetError("reset by peer"), TimeoutError("timed out")])
    info = folder._fs.info

    def info_when_back(path, **kwargs):
        for error in lost:
            raise error
        return info(path, **kwargs)

    monkeypatch.setattr(folder._fs, "info", info_when_back)
    assert folder.state("a.mp4")
    assert next(lost, None) is None

    def unreachable(path, **kwargs):
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(folder._fs, "info", unreachable)
    with pytest.raises(storage.StorageError, match="cannot be reached") as caught:
        folder.state("a.mp4")
    assert caught.value.code == "STORAGE"


def test_an_input_is_downloaded_once_for_equal_contents(location, tmp_path, monkeypatch):
    folder = storage.Folder(location)
    for name in ("anna.mp4", "copy.mp4"):
        folder.put(write(tmp_path / "v", b"video"), name)
    location = location if is_address(location) else f"file://{location}"
    cache = InputCache(tmp_path / "cache")
    with cache.fetched(f"{location}/anna.mp4") as path, cache.fetched(f"{location}/copy.mp4"):
        assert path.name == "anna.mp4"
        assert path.read_bytes() == b"video"
    copies = [copy for copy in (tmp_path / "cache/content").glob("*/") if copy.is_dir()]
    assert [copy.name for copy in copies] == [hashlib.sha256(b"video").hexdigest()]
    monkeypatch.setattr(InputCache, "_download", None)  # a second time, nothing is fetched
    with InputCache(tmp_path / "cache").fetched(f"{location}/anna.mp4") as path:
        assert path.read_bytes() == b"video"


def test_a_changed_input_is_downloaded_again(location, tmp_path):
    folder = storage.Folder(location)
    url = location if is_address(location) else f"file://{location}"
    cache = InputCache(tmp_path / "cache")
    for content in (b"first", b"other"):
        folder.put(write(tmp_path / "v", content), "anna.mp4")
        with cache.fetched(f"{url}/anna.mp4") as path:
            assert path.read_bytes() == content


@pytest.mark.fault
def test_a_damaged_copy_is_replaced(location, tmp_path):
    storage.Folder(location).put(write(tmp_path / "v", b"video"), "anna.mp4")
    url = location if is_address(location) else f"file://{location}"
    cache = InputCache(tmp_path / "cache")
    with cache.fetched(f"{url}/anna.mp4") as path:
        pass
    write(path, b"viDeo")
    with cache.fetched(f"{url}/anna.mp4") as path:
        assert path.read_bytes() == b"video"


def test_a_missing_input_is_an_input_error_and_leaves_nothing(location, tmp_path):
    url = location if is_address(location) else f"file://{location}"
    cache = InputCache(tmp_path / "cache")
    with pytest.raises(InputError, match="no such file"), cache.fetched(f"{url}/none.mp4"):
        pass
    assert cache.size() == 0
    with pytest.raises(InputError, match="cannot be opened"):
        storage.Folder("gopher://bucket/folder")


def test_the_cache_removes_what_was_not_used_longest_but_nothing_in_use(tmp_path):
    folder = storage.Folder(str(tmp_path / "share"))
    contents = {name: os.urandom(1000) for name in ("a", "b", "c", "d")}
    for name, content in contents.items():
        folder.put(write(tmp_path / "v", content), name)
    cache = InputCache(tmp_path / "cache", max_bytes=2500)
    url = f"file://{tmp_path}/share"
    with cache.fetched(f"{url}/a") as in_use:
        for name in ("b", "c", "d"):
            with cache.fetched(f"{url}/{name}") as path:
                assert path.read_bytes() == contents[name]
        assert in_use.read_bytes() == contents["a"]
        assert cache.size() == 2000  # a, which is in use, and d
        with InputCache(tmp_path / "cache").fetched(f"{url}/d") as path:
            assert path.read_bytes() == contents["d"]
