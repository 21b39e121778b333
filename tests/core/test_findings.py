"""Findings: codes with numbers, sentences in both languages."""

import numpy as np

from heygem import audio
from heygem.core import findings
from heygem.core.findings import Finding
from heygem.media import AudioTrack


def test_a_silent_recording_gives_a_code_and_a_sentence_in_either_language():
    silent = np.zeros(16_000, np.float32)
    (finding,) = audio.check(audio.Speech(silent, AudioTrack(silent[:, None], 16_000)))
    assert finding.code == "SILENT" and finding.message.startswith("the audio is silent")
    assert "没有声音" in finding.text("zh")


def test_numbers_fill_the_placeholders():
    small = Finding("warning", "FACE_SMALL", {"face_px": 61.6})
    assert "62 px" in small.message and "62 像素" in small.text("zh")


def test_findings_are_read_from_a_stored_report():
    stored = [Finding("warning", "SEVERAL_FACES", {"faces": 3}).plain()]
    report = {"findings": [*stored, {"level": "warning", "code": "FROM_LATER", "values": {}}]}
    (finding,) = findings.of_report(report)
    assert "3 faces" in finding.message
    (older,) = findings.of_report({"advice": ["the mouth never opens"]})
    assert older.message == "the mouth never opens"
