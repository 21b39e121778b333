"""Items of a batch: tables of pairs, unique and stable names."""

import pytest
from helpers.batch import pairs_recipe, write_table

from heygem.batch.input_files import expand
from heygem.batch.items import SpeechFiles, plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.results import item_table
from heygem.batch.runner import Report, summary
from heygem.config import settings
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError
from heygem.core.files import sha256


def test_one_pair_with_different_settings_gets_different_stable_names(workdir):
    rows = [{"video": "anna.mp4", "audio": "hello.wav", "lips.closure": c} for c in (0, 0.5, 0.5)]
    names = [item.name for item in plan_items(pairs_recipe(rows))]
    assert len(set(names)) == 2 and all(name.endswith("-anna-mp4-hello") for name in names)
    # Another row does not rename these.
    more = plan_items(pairs_recipe([{"video": "ben.mp4", "audio": "hello.wav"}, *rows]))
    assert [item.name for item in more][1:] == names


@pytest.mark.parametrize(
    "text, message",
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
def test_errors_in_a_table_name_row_and_column(workdir, text, message):
    with pytest.raises(ParameterError, match=message):
        plan_items(pairs_recipe(write_table(workdir, text)))


def test_tables_in_the_formats_that_spreadsheets_save(workdir):
    for text in ("video;audio\r\nanna.mp4;hello.wav\r\n", "video\taudio\nanna.mp4\thello.wav\n"):
        (item,) = plan_items(pairs_recipe(write_table(workdir, text)))
        assert item.name == "anna-hello"
    (item,) = plan_items(
        pairs_recipe(
            write_table(workdir, "- {video: anna.mp4, audio: bye.wav, name: x}\n", "table.yaml")
        )
    )
    assert (item.name, item.speech) == ("x", "bye.wav")
    with pytest.raises(ParameterError, match="CSV UTF-8"):
        plan_items(
            pairs_recipe(write_table(workdir, "video,audio\n中.mp4,b.wav\n", encoding="gbk"))
        )
    with pytest.raises(InputError, match="no such table"):
        plan_items(pairs_recipe("none.csv"))


def test_videos_and_pairs_together_are_refused():
    with pytest.raises(ParameterError, match="`videos` or `pairs`, not both"):
        Params.from_dict({"inputs": {"videos": ["a.mp4"], "pairs": [{"video": "b.mp4"}]}})


def test_speech_files_are_hashed_once_and_texts_become_wav_files(workdir):
    rows = [{"video": f"{name}.mp4", "audio": "hello.wav"} for name in ("anna", "ben")]
    rows += [{"video": f"{name}.mp4", "text": "Good morning."} for name in ("anna", "ben")]
    items = plan_items(pairs_recipe(rows))
    speech = SpeechFiles(workdir)
    assert speech.cached(items[0]) is None
    hello = speech.get(items[0])
    assert hello.sha256 == sha256(workdir / "hello.wav")
    (workdir / "hello.wav").write_bytes(b"changed meanwhile")
    assert speech.get(items[1]) == hello and speech.cached(items[1]) == hello.path
    spoken = speech.get(items[2])
    assert spoken.path.suffix == ".wav" and spoken.sha256 == sha256(spoken.path)
    assert speech.get(items[3]) == spoken


def planned(**inputs):
    return plan_items(Params.from_dict({"inputs": {"output": "out", **inputs}}))


def test_every_video_speaks_every_sound(workdir):
    items = planned(videos=["anna.mp4", "ben.mp4"], audios=["hello.wav", "bye.wav"])
    assert [item.name for item in items] == ["anna-hello", "anna-bye", "ben-hello", "ben-bye"]
    assert items[1].params.inputs.audio == "bye.wav" and items[1].params.inputs.audios == ()


def test_patterns_and_folders_stand_for_their_media_files(workdir):
    (workdir / "notes.txt").write_text("no sound")
    (workdir / "talks").mkdir()
    (workdir / "bye.wav").rename(workdir / "talks" / "bye.wav")
    items = planned(videos=["[ab]*.mp4", "ben.mp4"], audios=["talks", "*"])
    assert [item.name for item in items][:4] == ["anna-bye", "anna-anna", "anna-bad", "anna-ben"]
    assert {item.video.name for item in items} == {"anna.mp4", "bad.mp4", "ben.mp4"}
    with pytest.raises(InputError, match="matches no video or portrait; seen: c"):
        planned(videos=["c*.mp4"], audio="hello.wav")
    with pytest.raises(InputError, match="the folder holds no video"):
        planned(videos=["talks"], audio="hello.wav")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(workdir):
    (workdir / "anna.mp4").rename(workdir / "[ab]*.mp4")
    (item,) = planned(videos=["[ab]*.mp4"], audio="hello.wav")
    assert str(item.video) == "[ab]*.mp4"


def test_videos_and_sounds_are_combined_by_order_or_by_name(workdir):
    (workdir / "anna.wav").write_bytes(b"a")
    (workdir / "ben.wav").write_bytes(b"b")
    videos = ["ben.mp4", "anna.mp4"]
    items = planned(videos=videos, audios=["hello.wav", "bye.wav"], combine="order")
    assert [item.name for item in items] == ["ben-hello", "anna-bye"]
    items = planned(videos=videos, audios=["anna.wav", "ben.wav"], combine="name")
    assert [item.name for item in items] == ["ben-ben", "anna-anna"]
    with pytest.raises(ParameterError, match="by their order; seen: 2 videos, 1 sounds"):
        planned(videos=videos, audios=["bye.wav"], combine="order")
    with pytest.raises(ParameterError, match="anna has no sound of its name"):
        planned(videos=videos, audios=["ben.wav"], combine="name")


def test_sounds_of_one_name_get_different_items(workdir):
    (workdir / "hello.mp3").write_bytes(b"other")
    names = [i.name for i in planned(videos=["anna.mp4"], audios=["hello.wav", "hello.mp3"])]
    assert len(set(names)) == 2


def test_a_sweep_makes_each_item_several_times_under_names_that_say_what_differs(workdir):
    sweep = {"lips.openness_gain": [0.8, 1.2], "renderer.feather": [0.1]}
    items = plan_items(
        Params.from_dict(
            {
                "inputs": {"videos": ["anna.mp4", "ben.mp4"], "audio": "hello.wav"},
                "sweep": sweep,
            }
        )
    )
    assert [item.name for item in items] == [
        "anna-hello-openness_gain=0.8,feather=0.1",
        "anna-hello-openness_gain=1.2,feather=0.1",
        "ben-hello-openness_gain=0.8,feather=0.1",
        "ben-hello-openness_gain=1.2,feather=0.1",
    ]
    assert [item.group for item in items] == ["anna-hello"] * 2 + ["ben-hello"] * 2
    assert items[1].variant == "openness_gain=1.2,feather=0.1"
    assert items[1].params.lips.openness_gain == 1.2 and items[1].params.sweep is None
    assert items[0].params.digest() != items[1].params.digest()


def test_the_names_of_variants_differ_however_long_the_group_is(workdir):
    row = {"video": "anna.mp4", "audio": "hello.wav", "name": "n" * 300}
    sweep = {"label.producer": ["p" * 90, "p" * 90 + "q", "a/b", "a:b"]}
    names = [item.name for item in plan_items(pairs_recipe([row], sweep=sweep))]
    assert len({name.casefold() for name in names}) == 4
    assert max(len(name.encode()) for name in names) <= 120


def test_a_row_that_sets_what_the_sweep_varies_is_refused(workdir):
    rows = [{"video": "anna.mp4", "audio": "hello.wav", "lips.closure": 0.5}]
    with pytest.raises(ParameterError, match="row 1: the row sets 'lips.closure'"):
        plan_items(pairs_recipe(rows, sweep={"lips.closure": [0, 1]}))


def test_a_batch_has_a_limit(workdir, monkeypatch):
    monkeypatch.setattr("heygem.batch.items.MAX_ITEMS", 3)
    with pytest.raises(ParameterError, match="too many items; seen: 4; at most 3"):
        planned(videos=["anna.mp4", "ben.mp4"], audios=["hello.wav", "bye.wav"])


def test_a_pattern_in_a_store_stands_for_its_media_files():
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("ray")
    memory = fsspec.filesystem("memory")
    for name in ("a.mp4", "b.mov", "notes.txt"):
        memory.pipe(f"/talks-1/{name}", b"x")
    assert expand(["memory://talks-1/*"], "video") == [
        "memory:///talks-1/a.mp4",
        "memory:///talks-1/b.mov",
    ]
    assert expand(["memory://talks-1/a.mp4"], "video") == ["memory://talks-1/a.mp4"]
    with pytest.raises(InputError, match="pattern matches no sound"):
        expand(["memory://talks-1/*.wav"], "audio")


def test_old_names_are_looked_for_once_in_each_item_of_a_large_batch(monkeypatch):
    """Five thousand items are planned in seconds; most of that time went into this."""
    calls = []
    original = settings.with_current_names
    monkeypatch.setattr(
        settings, "with_current_names", lambda *given: calls.append(given) or original(*given)
    )
    videos = [f"/v/{number}.mp4" for number in range(50)]
    params = Params.from_dict({"inputs": {"videos": videos, "audio": "/v/a.wav"}})
    calls.clear()
    assert len(plan_items(params)) == len(calls) == 50


def test_records_name_results_in_a_store_by_their_address(tmp_path):
    """A `Path` would make s3:/ of s3://."""
    inputs = {"videos": ["s3://b/anna.mp4"], "audio": "s3://b/a.wav", "output": "s3://b/out/"}
    (item,) = plan_items(Params.from_dict({"inputs": inputs}))
    made = Outcome(
        item.name, item.video, "done", params=item.params, output=item.output, details=item.details
    )
    report = Report(tmp_path, (made,), 1.0)
    (row,) = summary(report, item.params)["items"]
    assert (row["video"], row["output"]) == ("s3://b/anna.mp4", "s3://b/out/anna-a.mp4")
    cells = item_table.rows([made])[0].cells()
    assert (cells["video"], cells["result"]) == (row["video"], row["output"])
