"""Batches: each item on its own, done stays done, nothing half-written, odd names."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from heygem import media, pipeline
from heygem.batch import manifest, runner
from heygem.config.params import Params
from heygem.core.errors import AssetError, Cancelled, InputError, OutputError, ParameterError
from heygem.core.files import read_json
from heygem.lips.trajectory import Trajectory


class Maker:
    """Stands in for the renderer: writes a small real video; some people misbehave."""

    def __init__(self):
        self.made = []
        self.loaded = 0

    def load_models(self, params):
        self.loaded += 1
        return SimpleNamespace(
            encode_audio=lambda path, settings, predict: None, forget_audio=lambda path: None
        )

    def generate(self, video, audio, out, params, *, models, progress, cancel):
        kind = Path(video).read_bytes().split(b" ")[0]
        if kind == b"faceless":
            raise InputError("no face", seen=video, remedy="give another")
        if kind == b"crash":
            raise ZeroDivisionError("bang\nbang")
        progress("render", 0, 2)
        with media.VideoWriter(out, width=64, height=64, rate=25) as writer:
            for i in range(5):
                if cancel.is_set():
                    raise Cancelled("stopped on request")
                writer.write(np.full((64, 64, 3), 40 * i, np.uint8), i / 25)
                if kind == b"cancel" and i == 2:
                    cancel.set()
                if kind == b"interrupt" and i == 2:
                    raise KeyboardInterrupt
        self.made.append(Path(video).name)
        return SimpleNamespace(
            path=out,
            manifest={"avatar": {"face_px": np.float32(3)}},
            duration_s=0.2,
            frames=5,
            skipped_frames={"no face": 1},
            timings={"render_s": 0.5},
            warnings=["a warning"],
            trajectory=Trajectory(np.zeros((10, 1), np.float32), 50.0, np.zeros((1, 900, 3))),
        )


@pytest.fixture
def maker(monkeypatch):
    maker = Maker()
    monkeypatch.setattr(pipeline, "load_models", maker.load_models)
    monkeypatch.setattr(pipeline, "generate", maker.generate)
    return maker


@pytest.fixture
def recipe(tmp_path):
    """A recipe for people of these kinds."""
    audio = tmp_path / "voice.wav"
    audio.write_bytes(b"sound")

    def make(*kinds, names=None, **more):
        videos = []
        for i, kind in enumerate(kinds):
            path = tmp_path / (names[i] if names else f"p{i}.mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{kind} {i}")
            videos.append(str(path))
        inputs = {"audio": str(audio), "videos": videos, "output": str(tmp_path / "out")}
        return Params.from_dict({"inputs": inputs, "mlflow": {"enabled": False}, **more})

    return make


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def test_each_item_gets_its_video_and_a_manifest_that_proves_it(maker, recipe, tmp_path):
    params = recipe("fine", "fine")
    report = runner.run(params)
    assert [outcome.status for outcome in report.outcomes] == ["done", "done"]
    assert report.exit_code == 0 and maker.loaded == 1
    written = json.loads((tmp_path / "out/details/p0-voice/manifest.json").read_text())
    video = tmp_path / "out/details/p0-voice" / written["output"]["file"]
    assert written["output"]["sha256"] == manifest.assets.sha256(video)
    assert written["params"]["lips"]["openness_gain"] == 1.0
    assert written["warnings"] == ["a warning"] and written["timings"] == {"render_s": 0.5}
    assert written["video"]["sha256"] and written["code"]["source_sha256"]
    assert files(tmp_path / "out") == [
        "batch.json",
        *(
            f"details/p{i}-voice/{f}"
            for i in (0, 1)
            for f in ("contact_sheet.png", "lip_curve.csv", "lip_curve.png", "manifest.json")
        ),
        "p0-voice.mp4",
        "p1-voice.mp4",
    ]


def test_failures_stay_with_their_item(maker, recipe, tmp_path):
    report = runner.run(recipe("fine", "faceless", "crash", "fine"))
    assert [o.status for o in report.outcomes] == ["done", "failed", "failed", "done"]
    assert "no face; seen:" in report.outcomes[1].error
    assert report.outcomes[2].error == "p2.mp4: unexpected ZeroDivisionError: bang bang"
    assert report.exit_code == 1  # something unexpected counts for more than bad input
    record = json.loads((tmp_path / "out/batch.json").read_text())
    assert [item["status"] for item in record["items"]] == ["done", "failed", "failed", "done"]
    assert "p1-voice" not in os.listdir(tmp_path / "out/details")


def test_missing_video_fails_alone_with_code_2(maker, recipe, tmp_path):
    params = recipe("fine", "fine")
    (tmp_path / "p0.mp4").unlink()
    report = runner.run(params)
    assert [o.status for o in report.outcomes] == ["failed", "done"]
    assert report.exit_code == 2


def test_again_skips_what_is_done_and_makes_what_is_not(maker, recipe, tmp_path):
    params = recipe("fine", "fine", "fine", "faceless")
    runner.run(params)
    (tmp_path / "out/p0-voice.mp4").write_bytes(b"tampered")
    (tmp_path / "out/details/p1-voice/manifest.json").write_text('{"id": "half')
    maker.made.clear()
    report = runner.run(params)
    assert [o.status for o in report.outcomes] == ["done", "done", "skipped", "failed"]
    assert maker.made == ["p0.mp4", "p1.mp4"]


def test_when_all_is_done_no_model_is_loaded(maker, recipe):
    params = recipe("fine")
    runner.run(params)
    assert runner.run(params).outcomes[0].status == "skipped"
    assert maker.loaded == 1


@pytest.mark.parametrize("change", ["parameter", "video", "audio"])
def test_anything_that_shapes_the_result_makes_it_anew(maker, recipe, tmp_path, change):
    params = recipe("fine")
    runner.run(params)
    if change == "parameter":
        params = params.override({"lips.openness_gain": 1.1})
    else:
        name = "p0.mp4" if change == "video" else "voice.wav"
        (tmp_path / name).write_text("fine, but another")
    assert runner.run(params).outcomes[0].status == "done"


def test_bookkeeping_does_not(maker, recipe):
    params = recipe("fine")
    runner.run(params)
    assert runner.run(params.override({"device": "cpu"})).outcomes[0].status == "skipped"


def test_cancel_keeps_what_is_finished_and_leaves_nothing_half_written(maker, recipe, tmp_path):
    report = runner.run(recipe("fine", "cancel", "fine"))
    assert [o.status for o in report.outcomes] == ["done", "cancelled", "cancelled"]
    assert report.exit_code == 130
    assert os.listdir(tmp_path / "out/details") == ["p0-voice"]
    assert sorted(os.listdir(tmp_path / "out")) == ["batch.json", "details", "p0-voice.mp4"]


def test_interrupt_of_a_kernel_is_a_cancel(maker, recipe, tmp_path):
    report = runner.run(recipe("interrupt", "fine"))
    assert [o.status for o in report.outcomes] == ["cancelled", "cancelled"]
    assert not (tmp_path / "out").exists()


def test_where_nothing_was_made_nothing_is_left(maker, recipe, tmp_path):
    params = recipe("faceless").override({"inputs.output": str(tmp_path / "deep/er/out")})
    assert runner.run(params).exit_code == 2
    assert not (tmp_path / "deep").exists()


def test_a_record_is_written_where_it_was_asked_for(maker, recipe, tmp_path):
    runner.run(recipe("faceless"), record=tmp_path / "run" / "batch.json")
    assert json.loads((tmp_path / "run/batch.json").read_text())["exit_code"] == 2
    assert not (tmp_path / "out").exists()


def test_models_that_are_missing_end_the_batch(maker, recipe, monkeypatch, tmp_path):
    def missing(params):
        raise AssetError("the model x is not there", remedy="run: heygem models pull")

    monkeypatch.setattr(pipeline, "load_models", missing)
    with pytest.raises(AssetError):
        runner.run(recipe("fine", "fine"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["videos", "audio"])
def test_nothing_to_do_is_said(recipe, missing):
    empty = {"videos": {"inputs.videos": []}, "audio": {"inputs.audio": None}}
    with pytest.raises(ParameterError, match="named"):
        runner.run(recipe("fine").override(empty[missing]))


def test_unusable_audio_is_one_error_for_all(maker, recipe, tmp_path):
    params = recipe("fine", "fine").override({"inputs.audio": str(tmp_path / "none.wav")})
    with pytest.raises(InputError, match="no such file"):
        runner.run(params)
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_a_folder(maker, recipe, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in ("file", "file/inside"):
        with pytest.raises(OutputError, match="output folder"):
            runner.run(recipe("fine").override({"inputs.output": str(tmp_path / place)}))
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


def test_odd_long_and_like_names_all_work_and_stay_apart(maker, recipe, tmp_path):
    params = recipe(*["fine"] * len(ODD), names=ODD)
    report = runner.run(params)
    assert {o.status for o in report.outcomes} == {"done"}, report.outcomes
    names = [o.output.name for o in report.outcomes]
    assert len({name.casefold() for name in names}) == len(ODD)
    for name in names:
        assert len(name.encode()) < 200 and not name.startswith((".", "-")) and "\n" not in name
    assert {o.status for o in runner.run(params).outcomes} == {"skipped"}
    # Fewer people, in another order: nobody is renamed who shares a name with somebody still there.
    again = params.override({"inputs.videos": list(params.inputs.videos[::-1])})
    assert {o.status for o in runner.run(again).outcomes} == {"skipped"}


def test_the_same_file_twice_is_made_once(maker, recipe):
    params = recipe("fine")
    twice = params.override({"inputs.videos": list(params.inputs.videos) * 2})
    assert len(runner.run(twice).outcomes) == 1


def test_text_is_spoken_when_there_is_no_audio(maker, recipe, tmp_path):
    changes = {"inputs.audio": None, "inputs.text": "Good morning.", "inputs.language": "en"}
    report = runner.run(recipe("fine").override(changes))
    assert report.outcomes[0].status == "done"
    written = read_json(report.outcomes[0].details)
    assert written["audio"]["text"] == "Good morning."
    assert runner.run(recipe("fine").override(changes)).outcomes[0].status == "skipped"


HOLD = """
import sys, time
from pathlib import Path
from heygem import workplace
with workplace.claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_second_run_in_a_folder_is_told_whose_it_is(maker, recipe, holder):
    with pytest.raises(OutputError, match=f"another run.*process {holder.pid}"):
        runner.run(recipe("fine"))


def test_lock_and_leavings_of_a_killed_run_are_cleared(maker, recipe, holder, tmp_path):
    holder.kill()
    holder.wait()
    left = tmp_path / "out" / f".0123456789ab-{holder.pid}.part"
    left.write_bytes(b"half a video")
    own = tmp_path / "out" / ".hidden-notes.txt"
    own.write_bytes(b"not ours")
    assert runner.run(recipe("fine")).exit_code == 0
    assert not left.exists() and own.exists()


def test_progress_names_item_and_stage(maker, recipe):
    seen = []
    runner.run(recipe("fine", "fine"), progress=lambda *step: seen.append(step))
    assert ("p1-voice", 1, 2, "render", 0, 2) in seen


def test_cancel_from_another_thread_ends_soon(maker, recipe, monkeypatch):
    def slow(*_, cancel, **__):
        while not cancel.wait(0.01):
            pass
        raise Cancelled("stopped on request")

    monkeypatch.setattr(pipeline, "generate", slow)
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    started = time.monotonic()
    assert runner.run(recipe("fine", "fine"), cancel=cancel).exit_code == 130
    assert time.monotonic() - started < 3


def table(tmp_path, text, name="table.csv", encoding="utf-8-sig"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return str(tmp_path / name)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two people and two sounds to pair in the working folder."""
    monkeypatch.chdir(tmp_path)
    for name, kind in (("anna", "fine"), ("ben", "fine"), ("bad", "faceless")):
        (tmp_path / f"{name}.mp4").write_text(f"{kind} {name}")
    for name in ("hello", "bye"):
        (tmp_path / f"{name}.wav").write_bytes(name.encode())
    return tmp_path


def paired(pairs, **more):
    return Params.from_dict(
        {"inputs": {"pairs": pairs, "output": "out"}, "mlflow": {"enabled": False}, **more}
    )


def test_a_table_of_pairs_makes_one_video_a_row(maker, place):
    rows = "Video,audio,text,name,lips.offset_ms\n".replace("Video", "video")
    rows += "anna.mp4,hello.wav,,,\nanna.mp4,bye.wav,,,40\n,,,,\nben.mp4,,早上好。,今天,\n"
    rows += "bad.mp4,bye.wav,,,\nben.mp4,missing.wav,,,\n"
    params = paired(table(place, rows), lips={"openness_gain": 1.2})
    report = runner.run(params)
    assert [(o.name, o.status) for o in report.outcomes] == [
        ("anna-hello", "done"),
        ("anna-bye", "done"),
        ("今天", "done"),
        ("bad-bye", "failed"),
        ("ben-missing", "failed"),  # a sound that is missing is its row's own trouble
    ]
    assert report.exit_code == 2 and "missing.wav" in report.outcomes[4].error
    late, spoken = (read_json(report.outcomes[k].details) for k in (1, 2))
    assert late["params"]["lips"]["offset_ms"] == 40 and late["params"]["inputs"]["pairs"] is None
    assert late["params"]["lips"]["openness_gain"] == 1.2
    assert late["audio"]["path"] == "bye.wav" and spoken["audio"]["text"] == "早上好。"
    record = json.loads((place / "out/batch.json").read_text())
    assert [item["sound"] for item in record["items"]][:3] == ["hello.wav", "bye.wav", "早上好。"]
    # Again, with one row changed: that one alone is made anew.
    changed = paired(table(place, rows.replace(",40", ",60")), lips={"openness_gain": 1.2})
    statuses = [o.status for o in runner.run(changed).outcomes]
    assert statuses == ["skipped", "done", "skipped", "failed", "failed"]


def test_rows_may_stand_in_the_recipe_and_share_its_sound(maker, place):
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


def test_the_same_pair_with_other_settings_gets_names_of_its_own(maker, place):
    rows = [{"video": "anna.mp4", "audio": "hello.wav", "lips.closure": c} for c in (0, 0.5, 0.5)]
    names = [item.name for item in runner.plan(paired(rows))]
    assert len(set(names)) == 2 and all(name.endswith("-anna-mp4-hello") for name in names)
    # Stable: a row more does not rename the others.
    more = runner.plan(paired([{"video": "ben.mp4", "audio": "hello.wav"}, *rows]))
    assert [item.name for item in more][1:] == names


def test_each_sound_is_let_go_after_its_last_row(maker, place, monkeypatch):
    gone = []
    monkeypatch.setattr(
        maker,
        "load_models",
        lambda params: SimpleNamespace(
            forget_audio=lambda path: gone.append((path.name, len(maker.made)))
        ),
    )
    monkeypatch.setattr(pipeline, "load_models", maker.load_models)
    sounds = ("hello", "bye", "hello")
    rows = [
        {"video": f"{video}.mp4", "audio": f"{sound}.wav"}
        for video, sound in zip(("anna", "anna", "ben"), sounds, strict=True)
    ]
    runner.run(paired(rows))
    assert gone == [("bye.wav", 2), ("hello.wav", 3)]


@pytest.mark.parametrize(
    "text, said",
    [
        ("video,audio\n,hello.wav\n", "table.csv, row 2, column 'video': it is empty"),
        ("video,audio,text\na.mp4,,\nb.mp4,b.wav,Hi\n", "row 3, column 'text': 'audio' is given"),
        ("video,audio\na.mp4,b.wav,c\n", "table.csv, row 2 has more cells"),
        ("video,audio\na.mp4,\n", "table.csv, row 2: no speech is named"),
        ("video,audo\na.mp4,b.wav\n", "row 2: no column 'audo' is known; did you mean 'audio'"),
        (
            "video,audio,lips.openes_gain\na,b,2\n",
            "row 2: unknown key 'lips.openes_gain'.*openness",
        ),
        ("video,audio,lips.offset_ms\na,b,9999\n", "row 2: bad value for lips.offset_ms"),
        ("video,audio,lips.model\na,b,x\n", "no column 'lips.model'.*all rows share it"),
        ("video,audio,name\na,b,x\nc,b,X\n", "row 3, column 'name': row 2 has the same name"),
        ("person,audio\na,b\n", "table.csv has no column 'video'"),
        ("video,audio\n", "holds no pairs"),
        ("video,audio,audio\na,b,c\n", "column 'audio' is there twice"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_row_and_column(place, text, said):
    with pytest.raises(ParameterError, match=said):
        runner.plan(paired(table(place, text)))


def test_tables_as_spreadsheets_save_them(place):
    for text in ("video;audio\r\nanna.mp4;hello.wav\r\n", "video\taudio\nanna.mp4\thello.wav\n"):
        (item,) = runner.plan(paired(table(place, text)))
        assert item.name == "anna-hello"
    (item,) = runner.plan(
        paired(table(place, "- {video: anna.mp4, audio: bye.wav, name: x}\n", "table.yaml"))
    )
    assert (item.name, item.sound) == ("x", "bye.wav")
    with pytest.raises(ParameterError, match="save it as CSV UTF-8"):
        runner.plan(paired(table(place, "video,audio\n中.mp4,b.wav\n", encoding="gbk")))
    with pytest.raises(InputError, match="no such table"):
        runner.plan(paired("none.csv"))


def test_videos_and_pairs_together_are_refused():
    with pytest.raises(ParameterError, match="`videos` or `pairs`, not both"):
        Params.from_dict({"inputs": {"videos": ["a.mp4"], "pairs": [{"video": "b.mp4"}]}})
