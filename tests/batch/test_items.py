"""Items of a batch: tables of pairs, unique and stable names."""

import pytest
from helpers.batch import pairs_recipe, write_table

from heygem.batch.items import SpeechFiles, plan_items
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
