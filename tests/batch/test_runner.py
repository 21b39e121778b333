"""Batches: failures, skipping of finished items, cancelling, records."""

import json
import os
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.batch import pairs_recipe, write_table

from heygem import pipeline
from heygem.batch import runner
from heygem.config.params import Params
from heygem.core.errors import AssetError, Cancelled, InputError, OutputError, ParameterError
from heygem.core.files import read_json, sha256


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


@pytest.mark.slow
def test_each_item_gets_a_video_and_a_manifest_with_its_hash(pipeline_stub, recipe, tmp_path):
    params = recipe("fine", "fine")
    report = runner.run(params)
    assert [outcome.status for outcome in report.outcomes] == ["done", "done"]
    assert report.exit_code == 0 and pipeline_stub.loaded == 1
    written = json.loads((tmp_path / "out/details/p0-voice/manifest.json").read_text())
    video = tmp_path / "out/details/p0-voice" / written["output"]["file"]
    assert written["output"]["sha256"] == sha256(video)
    assert written["params"]["lips"]["openness_gain"] == 1.0
    assert written["warnings"] == ["a warning"] and written["timings"] == {"render_s": 0.5}
    assert written["video"]["sha256"] and written["code"]["source_sha256"]
    assert files(tmp_path / "out") == [
        "batch.json",
        *(
            f"details/p{i}-voice/{f}"
            for i in (0, 1)
            for f in (
                "contact_sheet.png",
                "lip_curve.csv",
                "lip_curve.png",
                "log.jsonl",
                "manifest.json",
                "thumbnail.jpg",
            )  # fmt: skip
        ),
        "p0-voice.mp4",
        "p1-voice.mp4",
    ]


@pytest.mark.slow
def test_what_is_kept_of_people_is_private_and_results_have_the_usual_mode(
    pipeline_stub, recipe, tmp_path
):
    before = os.umask(0o022)
    try:
        runner.run(recipe("fine"))
    finally:
        os.umask(before)
    details = tmp_path / "out/details"
    modes = {path: path.stat().st_mode & 0o777 for path in (details, *details.rglob("*"))}
    assert len(modes) == 8
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())
    assert (tmp_path / "out/batch.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/p0-voice.mp4").stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_one_failing_item_does_not_affect_the_others(pipeline_stub, recipe, tmp_path):
    report = runner.run(recipe("fine", "faceless", "crash", "fine"))
    assert [o.status for o in report.outcomes] == ["done", "failed", "failed", "done"]
    assert "no face; seen:" in report.outcomes[1].error
    assert report.outcomes[2].error == "p2.mp4: unexpected ZeroDivisionError: bang bang"
    assert report.exit_code == 1  # something unexpected counts for more than bad input
    record = json.loads((tmp_path / "out/batch.json").read_text())
    assert [item["status"] for item in record["items"]] == ["done", "failed", "failed", "done"]
    assert "p1-voice" not in os.listdir(tmp_path / "out/details")


@pytest.mark.slow
def test_missing_video_fails_alone_with_exit_code_2(pipeline_stub, recipe, tmp_path):
    params = recipe("fine", "fine")
    (tmp_path / "p0.mp4").unlink()
    report = runner.run(params)
    assert [o.status for o in report.outcomes] == ["failed", "done"]
    assert report.exit_code == 2


@pytest.mark.slow
def test_second_run_skips_finished_items_and_makes_missing_ones(pipeline_stub, recipe, tmp_path):
    params = recipe("fine", "fine", "fine", "faceless")
    runner.run(params)
    (tmp_path / "out/p0-voice.mp4").unlink()
    pipeline_stub.generated.clear()
    report = runner.run(params)
    assert [o.status for o in report.outcomes] == ["done", "skipped", "skipped", "failed"]
    assert pipeline_stub.generated == ["p0.mp4"]


@pytest.mark.slow
def test_no_model_is_loaded_when_all_items_are_finished(pipeline_stub, recipe):
    params = recipe("fine")
    runner.run(params)
    assert runner.run(params).outcomes[0].status == "skipped"
    assert pipeline_stub.loaded == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", ["parameter", "video", "audio"])
def test_changed_parameter_video_or_audio_remakes_the_item(pipeline_stub, recipe, tmp_path, change):
    params = recipe("fine")
    runner.run(params)
    if change == "parameter":
        params = params.override({"lips.openness_gain": 1.1})
    else:
        name = "p0.mp4" if change == "video" else "voice.wav"
        (tmp_path / name).write_text("fine, but another")
    assert runner.run(params).outcomes[0].status == "done"


@pytest.mark.slow
def test_changed_device_does_not_remake_the_item(pipeline_stub, recipe):
    params = recipe("fine")
    runner.run(params)
    assert runner.run(params.override({"device": "cpu"})).outcomes[0].status == "skipped"


@pytest.mark.slow
def test_cancel_keeps_finished_items_and_leaves_no_partial_file(pipeline_stub, recipe, tmp_path):
    report = runner.run(recipe("fine", "cancel", "fine"))
    assert [o.status for o in report.outcomes] == ["done", "cancelled", "cancelled"]
    assert report.exit_code == 130
    assert os.listdir(tmp_path / "out/details") == ["p0-voice"]
    assert sorted(os.listdir(tmp_path / "out")) == ["batch.json", "details", "p0-voice.mp4"]


def test_keyboard_interrupt_cancels_the_batch(pipeline_stub, recipe, tmp_path):
    report = runner.run(recipe("interrupt", "fine"))
    assert [o.status for o in report.outcomes] == ["cancelled", "cancelled"]
    assert not (tmp_path / "out").exists()


def test_a_batch_without_results_leaves_no_folder(pipeline_stub, recipe, tmp_path):
    params = recipe("faceless").override({"inputs.output": str(tmp_path / "deep/er/out")})
    assert runner.run(params).exit_code == 2
    assert not (tmp_path / "deep").exists()


def test_a_requested_record_is_written_even_without_results(pipeline_stub, recipe, tmp_path):
    runner.run(recipe("faceless"), record=tmp_path / "run" / "batch.json")
    assert json.loads((tmp_path / "run/batch.json").read_text())["exit_code"] == 2
    assert not (tmp_path / "out").exists()


def test_missing_models_end_the_batch(pipeline_stub, recipe, monkeypatch, tmp_path):
    def missing(params):
        raise AssetError("the model x is not there", remedy="run: heygem models pull")

    monkeypatch.setattr(pipeline, "load_models", missing)
    with pytest.raises(AssetError):
        runner.run(recipe("fine", "fine"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["videos", "audio"])
def test_recipe_without_videos_or_speech_is_refused(recipe, missing):
    empty = {"videos": {"inputs.videos": []}, "audio": {"inputs.audio": None}}
    with pytest.raises(ParameterError, match="named"):
        runner.run(recipe("fine").override(empty[missing]))


def test_unusable_shared_audio_ends_the_batch(pipeline_stub, recipe, tmp_path):
    params = recipe("fine", "fine").override({"inputs.audio": str(tmp_path / "none.wav")})
    with pytest.raises(InputError, match="no such file"):
        runner.run(params)
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_a_folder_is_refused(pipeline_stub, recipe, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for workdir in ("file", "file/inside"):
        with pytest.raises(OutputError, match="output folder"):
            runner.run(recipe("fine").override({"inputs.output": str(tmp_path / workdir)}))
    assert (tmp_path / "file").read_bytes() == b""


ODD = [
    "-dash.mp4",
    "new\nline.mp4",
    "q\"uo'te.mp4",
    "co:lon.mp4",
    "中文 名字 😀.mp4",
    "中" * 83 + ".mp4",
    "...mp4",
    "$(x) `y`.mp4",
    "a/b.mp4",
    "a/b.mov",
    "c/b.mp4",
    "c/B.mp4",
]


@pytest.mark.slow
def test_odd_long_and_clashing_names_stay_distinct_and_stable(pipeline_stub, recipe, tmp_path):
    params = recipe(*["fine"] * len(ODD), names=ODD)
    report = runner.run(params)
    assert {o.status for o in report.outcomes} == {"done"}, report.outcomes
    names = [o.output.name for o in report.outcomes]
    assert len({name.casefold() for name in names}) == len(ODD)
    for name in names:
        assert len(name.encode()) < 200 and not name.startswith((".", "-")) and "\n" not in name
    assert {o.status for o in runner.run(params).outcomes} == {"skipped"}
    # Another order does not rename items.
    again = params.override({"inputs.videos": list(params.inputs.videos[::-1])})
    assert {o.status for o in runner.run(again).outcomes} == {"skipped"}


@pytest.mark.slow
def test_duplicate_videos_are_made_once(pipeline_stub, recipe):
    params = recipe("fine")
    twice = params.override({"inputs.videos": list(params.inputs.videos) * 2})
    assert len(runner.run(twice).outcomes) == 1


@pytest.mark.slow
def test_text_is_spoken_when_there_is_no_audio(pipeline_stub, recipe, tmp_path):
    changes = {"inputs.audio": None, "inputs.text": "Good morning.", "inputs.language": "en"}
    report = runner.run(recipe("fine").override(changes))
    assert report.outcomes[0].status == "done"
    written = read_json(report.outcomes[0].details)
    assert written["audio"]["text"] == "Good morning."
    assert runner.run(recipe("fine").override(changes)).outcomes[0].status == "skipped"


@pytest.mark.slow
def test_progress_reports_item_and_stage(pipeline_stub, recipe):
    steps = []
    runner.run(recipe("fine", "fine"), progress=lambda *step: steps.append(step))
    assert ("p1-voice", 1, 2, "render", 0, 2) in steps


def test_cancel_from_another_thread_stops_all_items(pipeline_stub, recipe, monkeypatch):
    started, cancel = threading.Event(), threading.Event()

    def generate_until_cancelled(*_, cancel, **__):
        started.set()
        assert cancel.wait(60)
        raise Cancelled("stopped on request")

    monkeypatch.setattr(pipeline, "generate", generate_until_cancelled)
    canceller = threading.Thread(target=lambda: started.wait(60) and cancel.set())
    canceller.start()
    report = runner.run(recipe("fine", "fine"), cancel=cancel)
    canceller.join()
    assert [outcome.status for outcome in report.outcomes] == ["cancelled", "cancelled"]
    assert report.exit_code == 130


def test_an_item_is_begun_while_the_one_before_is_sealed(pipeline_stub, recipe, monkeypatch):
    begun, drawing, reported = [], [], []
    second_begun = threading.Event()

    def generate(video, audio, out, params, *, progress, **more):
        begun.append(Path(video).name)
        drawing.append(len(drawing))
        assert drawing == [0], "frames of two items at once"
        progress("render", 0, 2)
        if len(begun) == 2:
            second_begun.set()
        drawing.pop()
        progress("label", 0, 1)
        assert second_begun.wait(60), "the second item waits for the sealing of the first"
        return pipeline_stub.generate(video, audio, out, params, progress=lambda *_: None, **more)

    monkeypatch.setattr(pipeline, "generate", generate)
    report = runner.run(recipe("fine", "fine"), progress=lambda *step: reported.append(step[:4]))
    assert [outcome.status for outcome in report.outcomes] == ["done", "done"]
    assert begun == ["p0.mp4", "p1.mp4"]
    shown = [(name, stage) for name, _, _, stage in reported if name and stage != "load models"]
    # Of two items at once the newer one is shown, and the last one to its end.
    assert shown == [
        ("p0-voice", "listen"),
        ("p0-voice", "render"),
        ("p1-voice", "render"),
        ("p1-voice", "label"),
        ("p1-voice", "figures"),
    ]


def test_an_error_that_ends_a_batch_makes_no_further_items(pipeline_stub, recipe, monkeypatch):
    class BrokenTracker:
        address = problem = ""

        def log(self, outcome):
            raise OSError("the disk is gone")

    monkeypatch.setattr(runner, "track_batch", lambda *_, **__: nullcontext(BrokenTracker()))
    with pytest.raises(OSError, match="the disk is gone"):
        runner.run(recipe(*["fine"] * 6))
    assert len(pipeline_stub.generated) <= 3


@pytest.mark.slow
def test_a_table_of_pairs_makes_one_video_per_row(pipeline_stub, workdir):
    rows = "video,audio,text,name,lips.offset_ms\n"
    rows += "anna.mp4,hello.wav,,,\nanna.mp4,bye.wav,,,40\n,,,,\nben.mp4,,早上好。,今天,\n"
    rows += "bad.mp4,bye.wav,,,\nben.mp4,missing.wav,,,\n"
    params = pairs_recipe(write_table(workdir, rows), lips={"openness_gain": 1.2})
    report = runner.run(params)
    assert [(o.name, o.status) for o in report.outcomes] == [
        ("anna-hello", "done"),
        ("anna-bye", "done"),
        ("今天", "done"),
        ("bad-bye", "failed"),
        ("ben-missing", "failed"),  # missing audio fails its row alone
    ]
    assert report.exit_code == 2 and "missing.wav" in report.outcomes[4].error
    shifted, spoken = (read_json(report.outcomes[k].details) for k in (1, 2))
    assert (
        shifted["params"]["lips"]["offset_ms"] == 40
        and shifted["params"]["inputs"]["pairs"] is None
    )
    assert shifted["params"]["lips"]["openness_gain"] == 1.2
    assert shifted["audio"]["path"] == "bye.wav" and spoken["audio"]["text"] == "早上好。"
    record = json.loads((workdir / "out/batch.json").read_text())
    assert [item["sound"] for item in record["items"]][:3] == ["hello.wav", "bye.wav", "早上好。"]
    # A second run remakes only the row that changed.
    changed = pairs_recipe(
        write_table(workdir, rows.replace(",40", ",60")), lips={"openness_gain": 1.2}
    )
    statuses = [o.status for o in runner.run(changed).outcomes]
    assert statuses == ["skipped", "done", "skipped", "failed", "failed"]


@pytest.mark.slow
def test_rows_in_the_recipe_default_to_its_audio(pipeline_stub, workdir):
    params = Params.from_dict(
        {
            "inputs": {
                "audio": "hello.wav",
                "pairs": [{"video": "anna.mp4"}, {"video": "ben.mp4", "audio": "bye.wav"}],
                "output": "out",
            },
            "mlflow": {"enabled": False},
        }
    )
    assert Params.from_dict(params.tree()) == params
    assert [o.name for o in runner.run(params).outcomes] == ["anna-hello", "ben-bye"]


@pytest.mark.slow
def test_each_speech_is_freed_after_its_last_row(pipeline_stub, workdir, monkeypatch):
    freed = []
    monkeypatch.setattr(
        pipeline_stub,
        "load_models",
        lambda params: SimpleNamespace(
            forget_audio=lambda path: freed.append((path.name, len(pipeline_stub.generated)))
        ),
    )
    monkeypatch.setattr(pipeline, "load_models", pipeline_stub.load_models)
    speeches = ("hello", "bye", "hello")
    rows = [
        {"video": f"{video}.mp4", "audio": f"{speech}.wav"}
        for video, speech in zip(("anna", "anna", "ben"), speeches, strict=True)
    ]
    runner.run(pairs_recipe(rows))
    assert freed == [("bye.wav", 2), ("hello.wav", 3)]
