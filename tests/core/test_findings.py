"""The same finding in both languages."""

import re
import string

import numpy as np
import pytest

from heygem import audio
from heygem.core import findings
from heygem.core.findings import WORDS, Finding
from heygem.media import AudioTrack


def names(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", WORDS)
def test_both_languages_say_it_with_the_same_numbers(code):
    english, chinese = WORDS[code]
    assert names(english) == names(chinese)
    assert re.search("[\u4e00-\u9fff]", chinese) and english.isascii()


def test_a_sound_is_judged_by_code_and_said_in_either_language():
    silent = np.zeros(16_000, np.float32)
    (found,) = audio.check(audio.Speech(silent, AudioTrack(silent[:, None], 16_000)))
    assert found.code == "SILENT" and found.message.startswith("the audio is silent")
    assert "没有声音" in found.text("zh")


def test_numbers_stand_in_the_words():
    small = Finding("warning", "FACE_SMALL", {"face_px": 61.6})
    assert "62 px" in small.message and "62 像素" in small.text("zh")


def test_a_report_from_disk_gives_its_findings_back():
    kept = [Finding("warning", "SEVERAL_FACES", {"faces": 3}).plain()]
    report = {"findings": [*kept, {"level": "warning", "code": "FROM_LATER", "values": {}}]}
    (found,) = findings.of_report(report)
    assert "3 faces" in found.message
    (older,) = findings.of_report({"advice": ["the mouth never opens"]})
    assert older.message == "the mouth never opens"
