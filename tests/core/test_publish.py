"""Results take their names without replacing a file that is not an earlier result."""

import errno
import hashlib
import multiprocessing
import os
import stat

import pytest

from heygem.core import publish
from heygem.core.errors import OutputError

OURS = b"an earlier result"


def is_ours(path):
    return publish.has_hash(path, hashlib.sha256(OURS).hexdigest())


def write(target, content=b"new", **rules):
    with publish.publishing(target, **rules) as staged:
        staged.write_bytes(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_free_name_is_taken_and_nothing_is_left_beside_it(tmp_path):
    write(tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == b"new" and names(tmp_path) == ["a.mp4"]


def test_the_mode_is_that_of_any_new_file(tmp_path):
    write(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.mp4", "b.mp4")]
    assert modes[0] == modes[1]


@pytest.mark.fault
def test_a_users_file_stays_and_a_free_name_is_offered(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"holiday")
    (tmp_path / "a-2.mp4").write_bytes(b"holiday, part 2")
    with pytest.raises(OutputError, match=r"not a result.*a\.mp4.*a-3.*--overwrite"):
        write(tmp_path / "a.mp4", may_replace=is_ours)
    assert (tmp_path / "a.mp4").read_bytes() == b"holiday"
    assert names(tmp_path) == ["a-2.mp4", "a.mp4"]


def test_an_earlier_result_is_replaced_and_so_is_any_file_on_request(tmp_path):
    (tmp_path / "a.mp4").write_bytes(OURS)
    write(tmp_path / "a.mp4", may_replace=is_ours)
    assert (tmp_path / "a.mp4").read_bytes() == b"new"
    write(tmp_path / "a.mp4", b"newer", may_replace=publish.always)
    assert (tmp_path / "a.mp4").read_bytes() == b"newer" and names(tmp_path) == ["a.mp4"]


@pytest.mark.fault
@pytest.mark.parametrize("link", ["same", "hard link", "link to input", "input is a link"])
def test_an_input_is_never_replaced_whatever_it_is_called(tmp_path, link):
    source, target = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(OURS)
    if link == "same":
        target = source
    elif link == "hard link":
        os.link(source, target)
    elif link == "link to input":
        target.symlink_to(source)
    else:
        target.write_bytes(OURS)
        source.unlink()
        source.symlink_to(target)
    with pytest.raises(OutputError, match="would replace an input"):
        write(target, inputs=[source], may_replace=publish.always)
    assert source.read_bytes() == OURS


@pytest.mark.fault
def test_a_link_to_an_earlier_result_is_not_that_result(tmp_path):
    (tmp_path / "kept.mp4").write_bytes(OURS)
    (tmp_path / "a.mp4").symlink_to(tmp_path / "kept.mp4")
    with pytest.raises(OutputError, match="not a result"):
        write(tmp_path / "a.mp4", may_replace=is_ours)
    assert (tmp_path / "a.mp4").is_symlink()


@pytest.mark.fault
def test_a_folder_of_that_name_is_named(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputError, match="a folder has this name.*a-2"):
        write(tmp_path / "a.mp4", may_replace=publish.always)


@pytest.mark.fault
@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_appears_while_the_result_is_made_stays(tmp_path, monkeypatch, hard_links):
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse_hard_links)
    with pytest.raises(OutputError, match="not a result"):
        with publish.publishing(tmp_path / "a.mp4") as staged:
            staged.write_bytes(b"new")
            (tmp_path / "a.mp4").write_bytes(b"holiday")
    assert (tmp_path / "a.mp4").read_bytes() == b"holiday" and names(tmp_path) == ["a.mp4"]


@pytest.mark.fault
@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_appears_after_the_check_stays(tmp_path, monkeypatch, hard_links):
    """The race between check and rename, for a free name and for one to be replaced."""
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse_hard_links)
    staged, target = tmp_path / ".staged.mp4", tmp_path / "a.mp4"
    staged.write_bytes(b"new")
    target.write_bytes(b"holiday")
    with pytest.raises(OutputError, match="by another program"):
        publish.place(staged, target, None)
    assert target.read_bytes() == b"holiday"
    target.write_bytes(OURS)
    expected = publish.check(target, may_replace=is_ours)
    other = tmp_path / "b.mp4"
    other.write_bytes(b"holiday again")
    os.replace(other, target)
    with pytest.raises(OutputError, match="by another program"):
        publish.place(staged, target, expected)
    assert target.read_bytes() == b"holiday again"
    assert names(tmp_path) == [".staged.mp4", "a.mp4"]


def refuse_hard_links(*_, **__):
    raise OSError(errno.EPERM, "Operation not permitted")


def _publish_many(folder, word, barrier, results):
    barrier.wait()
    count = 0
    for number in range(40):
        try:
            write(folder / f"{number}.mp4", word)
            count += 1
        except OutputError:
            pass
    results.put(count)


@pytest.mark.fault
@pytest.mark.slow
def test_of_two_processes_that_write_one_name_exactly_one_succeeds(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_publish_many, args=(tmp_path, word, barrier, results))
        for word in (b"first", b"second")
    ]
    for worker in workers:
        worker.start()
    counts = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(counts) == 40 and len(names(tmp_path)) == 40
    assert {path.read_bytes() for path in tmp_path.iterdir()} <= {b"first", b"second"}


@pytest.mark.fault
def test_after_an_error_the_earlier_result_stays(tmp_path):
    (tmp_path / "a.mp4").write_bytes(OURS)
    with pytest.raises(ZeroDivisionError):
        with publish.publishing(tmp_path / "a.mp4", may_replace=is_ours) as staged:
            staged.write_bytes(b"half")
            raise ZeroDivisionError
    assert (tmp_path / "a.mp4").read_bytes() == OURS and names(tmp_path) == ["a.mp4"]


def test_a_folder_that_cannot_be_written_is_known_before_work(tmp_path):
    publish.check_folder(tmp_path)
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="cannot write to the folder.*not there"):
        publish.check_folder(tmp_path / "none")
