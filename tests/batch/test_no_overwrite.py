"""A batch replaces earlier results of its own and nothing else; inputs never."""

import multiprocessing
import os
import signal

import pytest
from helpers.batch import pairs_recipe, write_table

from heygem.batch import runner
from heygem.batch.item import details
from heygem.core.errors import OutputError
from heygem.core.files import read_json, sha256
from heygem.provenance.ledger import Ledger

pytestmark = pytest.mark.fault


def outcomes(params):
    return [(outcome.status, outcome.error) for outcome in runner.run(params).outcomes]


@pytest.fixture
def own_records(tmp_path, monkeypatch):
    """An installation without keys and ledger."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_a_row_named_like_its_source_is_refused(pipeline_stub, workdir, link, overwrite):
    """`own/anna.mp4,hello.wav,anna` with `--out own`, and the same by way of a link."""
    (workdir / "out").mkdir()
    if link is None:
        source = workdir / "out" / "anna.mp4"
        (workdir / "anna.mp4").rename(source)
    else:
        source = workdir / "anna.mp4"
        link(source, workdir / "out" / "anna.mp4")
    content = source.read_bytes()
    table = write_table(workdir, f"video,audio,name\n{source},hello.wav,anna\n")
    params = pairs_recipe(table).override({"inputs.overwrite": overwrite})
    ((status, error),) = outcomes(params)
    assert status == "failed" and "would replace an input" in error and "anna-2" in error
    assert source.read_bytes() == content and pipeline_stub.loaded == 0


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_input_of_another_row_is_an_input_too(pipeline_stub, workdir, overwrite):
    (workdir / "out").mkdir()
    (workdir / "ben.mp4").rename(workdir / "out" / "ben.mp4")
    rows = "video,audio,name\nanna.mp4,hello.wav,ben\nout/ben.mp4,hello.wav,second\n"
    params = pairs_recipe(write_table(workdir, rows)).override({"inputs.overwrite": overwrite})
    first, second = outcomes(params)
    assert first[0] == "failed" and "would replace an input" in first[1]
    assert second == ("done", "")
    assert (workdir / "out" / "ben.mp4").read_text() == "fine ben"


@pytest.mark.slow
def test_a_users_file_stays_until_overwrite(pipeline_stub, recipe, tmp_path):
    film = tmp_path / "out" / "p0-voice.mp4"
    film.parent.mkdir()
    film.write_bytes(b"holiday")
    params = recipe("fine", "fine")
    first, second = outcomes(params)
    assert first[0] == "failed" and "--overwrite" in first[1] and "p0-voice-2" in first[1]
    assert second[0] == "done" and film.read_bytes() == b"holiday"
    assert os.listdir(tmp_path / "out" / "details") == ["p1-voice"]
    assert outcomes(params.override({"inputs.overwrite": True}))[0] == ("done", "")
    assert film.read_bytes() != b"holiday"


@pytest.mark.slow
def test_a_result_that_was_changed_since_is_the_users(pipeline_stub, recipe, tmp_path):
    params = recipe("fine")
    runner.run(params)
    (tmp_path / "out" / "p0-voice.mp4").write_bytes(b"cut by hand")
    ((status, error),) = outcomes(params)
    assert status == "failed" and "unchanged since" in error
    assert (tmp_path / "out" / "p0-voice.mp4").read_bytes() == b"cut by hand"
    assert read_json(tmp_path / "out/details/p0-voice")["status"] == "done"


def test_a_file_that_appears_while_the_video_is_made_stays(
    pipeline_stub, recipe, tmp_path, monkeypatch
):
    film = tmp_path / "out" / "p0-voice.mp4"
    generate = pipeline_stub.generate

    def appearing(video, audio, out, params, *, progress, **more):
        def write_it(*_):
            film.write_bytes(b"holiday")

        return generate(video, audio, out, params, progress=write_it, **more)

    monkeypatch.setattr("heygem.pipeline.generate", appearing)
    ((status, error),) = outcomes(recipe("fine"))
    assert status == "failed" and "not a result" in error
    assert film.read_bytes() == b"holiday"


def test_a_folder_of_details_that_is_the_users_stays(pipeline_stub, recipe, tmp_path):
    sheet = tmp_path / "out" / "details" / "p0-voice" / "contact_sheet.png"
    sheet.parent.mkdir(parents=True)
    sheet.write_bytes(b"holiday")
    ((status, error),) = outcomes(recipe("fine"))
    assert status == "failed" and "did not make" in error and "p0-voice-2" in error
    assert sheet.read_bytes() == b"holiday" and pipeline_stub.loaded == 0


@pytest.mark.slow
def test_a_picture_of_the_users_in_a_folder_of_ours_stays(pipeline_stub, recipe, tmp_path):
    params = recipe("fine")
    runner.run(params)
    sheet = tmp_path / "out" / "details" / "p0-voice" / "contact_sheet.png"
    sheet.write_bytes(b"holiday")
    (outcome,) = runner.run(params.override({"lips.openness_gain": 1.1})).outcomes
    assert outcome.status == "done"
    assert any("contact_sheet.png is there already" in line for line in outcome.warnings)
    assert sheet.read_bytes() == b"holiday"


@pytest.mark.slow
def test_a_batch_json_of_the_users_is_refused_before_work(pipeline_stub, recipe, tmp_path):
    record = tmp_path / "out" / "batch.json"
    record.parent.mkdir()
    record.write_text('{"my": "notes"}')
    with pytest.raises(OutputError, match=r"batch\.json is there already"):
        runner.run(recipe("fine"))
    assert record.read_text() == '{"my": "notes"}' and pipeline_stub.loaded == 0
    record.unlink()
    runner.run(recipe("fine"))
    assert outcomes(recipe("fine")) == [("skipped", "")]  # its own record is replaced


def _run_and_die(params, where):
    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(details, where, die)
    runner.run(params)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["save_figures", "finish"])
def test_a_run_killed_before_its_manifest_is_made_again(
    pipeline_stub, recipe, tmp_path, own_records, where
):
    """The finished video is in the ledger, so it is known as a result without a manifest."""
    params = recipe("fine")
    process = multiprocessing.get_context("fork").Process(target=_run_and_die, args=(params, where))
    process.start()
    process.join()
    video = tmp_path / "out" / "p0-voice.mp4"
    assert process.exitcode == -signal.SIGKILL and video.is_file()
    assert read_json(tmp_path / "out/details/p0-voice")["status"] == "begun"
    assert outcomes(params)[0][0] == "failed"  # nobody knows it: the stub enters no row
    Ledger().append("made", sha256(video), {})
    assert outcomes(params) == [("done", "")]
    assert read_json(tmp_path / "out/details/p0-voice")["status"] == "done"


@pytest.mark.slow
def test_a_damaged_manifest_of_a_known_result_is_made_again(
    pipeline_stub, recipe, tmp_path, own_records
):
    params = recipe("fine")
    runner.run(params)
    Ledger().append("made", sha256(tmp_path / "out" / "p0-voice.mp4"), {})
    (tmp_path / "out/details/p0-voice/manifest.json").write_text('{"id": "half')
    assert outcomes(params) == [("done", "")]
    assert outcomes(params) == [("skipped", "")]
