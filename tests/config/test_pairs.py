"""Tables of pairs that cannot be read: every refusal names the row and what to do."""

import os

import pytest
from helpers.media import refusal

from heygem.config import pairs
from heygem.core.errors import InputError, ParameterError

HEAD = "video,audio\n"


def table(tmp_path, content):
    path = tmp_path / "pairs.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEAD + f'"{"a" * 200_000}",b.wav\n', "row 2: a cell does not end"),
        (HEAD + 'a.mp4,b.wav\n"a.mp4,b.wav\n', "row 3: a cell does not end"),
        (HEAD + f"{'a' * 5000},b.wav\n", "row 2, column 'video': the cell is too long"),
        (f"video,text\na.mp4,{'a' * 20_001}\n", "row 2, column 'text': the cell is too long"),
        (f"video,audio,lips.offset_ms\na.mp4,b.wav,{'1' * 5000}\n", "column 'lips.offset_ms'"),
        ((HEAD + "Jürgen.mp4,b.wav\n").encode("latin-1"), "byte 0xFC in line 2"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path, content, words):
    path = table(tmp_path, content)
    assert words in refusal(lambda: pairs.read(path), ParameterError)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_as_spreadsheets_save_it(tmp_path, encoding, delimiter):
    text = delimiter.join(["video", "audio"]) + "\r\n" + delimiter.join(["安娜.mp4", "b.wav"])
    (pair,) = pairs.read(table(tmp_path, text.encode(encoding)))
    assert (pair.video, pair.audio) == ("安娜.mp4", "b.wav")


def test_cells_are_read_as_in_a_recipe(tmp_path):
    text = "video,audio,lips.silence_gate,lips.offset_ms\na.mp4,b.wav,no,1:30\n"
    (pair,) = pairs.read(table(tmp_path, text))
    assert pair.changes == {"lips.silence_gate": "no", "lips.offset_ms": "1:30"}


@pytest.mark.fault
def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is a pipe" in refusal(lambda: pairs.read(tmp_path / "pipe.csv"), InputError)
