"""The preview page without a browser."""

import threading
from pathlib import Path

import pytest
from helpers.media import tone, write_wav
from helpers.studio import GATE_OFF, WAIT_S

from heygem.studio import file_check, input_report
from heygem.studio.file_check import Verdict
from heygem.studio.pages.preview import PreviewPage
from heygem.studio.session import Session

pytestmark = [pytest.mark.usefixtures("isolated_home"), pytest.mark.slow]


def test_an_empty_page_gives_a_hint_and_opening_nothing_names_the_missing_file(tmp_path):
    page = PreviewPage(folder=tmp_path, out=tmp_path / "p")
    assert "Choose a sound and a video" in page.hint.value
    page.open_button.click()
    assert page.task.wait(WAIT_S)
    assert "no video is chosen" in page.status.error.value


def test_opening_files_shows_report_and_preview(tuning):
    page = tuning.preview
    assert page.opened and page.clip is not None
    assert page.player.result_url.endswith("-result.mp4")
    assert page.player.result_url.startswith("files/previews/")
    assert "frames/s" in page.report.value and page.player.overview
    assert "frames in" in page.timing.value
    assert len(page.player.curves) > 500


def test_the_preview_comes_before_landmarks_and_verdicts(
    models, talking, speech, tmp_path, monkeypatch
):
    shown = {}

    def looked_at(name, result):
        shown[name] = page.clip is not None
        return result

    monkeypatch.setattr(
        input_report, "landmark_strip", lambda avatar: looked_at("landmarks", b"\xff\xd8")
    )
    verdict = Verdict("good", "")
    monkeypatch.setattr(file_check, "check_file", lambda path, *_: looked_at(path, verdict))
    session = Session(GATE_OFF, folder=tmp_path / "previews", models=models)
    session.load(talking[0], speech)  # so that the page waits for the first picture only
    ready = threading.Event()
    load = session.load
    monkeypatch.setattr(session, "load", lambda *a, **k: ready.wait(WAIT_S) and load(*a, **k))
    page = PreviewPage(video=talking[0], audio=speech, folder=tmp_path, session=session)
    ready.set()
    assert page.task.wait(WAIT_S) and page.landmark_task.wait(WAIT_S)
    for picker in (page.video, page.audio):
        assert picker.verdicts.idle.wait(WAIT_S)
    assert shown == dict.fromkeys(["landmarks", str(talking[0]), str(speech)], True)
    assert page.landmarks.value == b"\xff\xd8" and page.landmarks.layout.display == "block"


def test_no_video_passes_through_the_widget_socket(tuning):
    for name, value in tuning.preview.player.get_state().items():
        assert not value or not isinstance(value, bytes | memoryview), name
    state = tuning.preview.player.get_state()
    assert sum(len(str(v)) for k, v in state.items() if not k.startswith("_")) < 200_000


@pytest.mark.slow
def test_the_frame_being_drawn_is_shown_until_the_preview_is_there(tuning):
    shown = []
    tuning.preview.player.observe(lambda change: shown.append(change["new"]), "live")
    tuning.preview.render()
    assert tuning.preview.task.wait(WAIT_S)
    *pictures, last = shown
    assert pictures and last == b""
    assert all(jpeg[:2] == b"\xff\xd8" and len(jpeg) < 100_000 for jpeg in pictures)


@pytest.mark.slow
def test_the_span_follows_a_click_in_the_overview(tuning):
    page = tuning.preview
    page.player.clicked_start_s = 0.5
    assert page.start.value == pytest.approx(0.5)
    assert page.task.wait(WAIT_S)
    assert page.clip.start_s == pytest.approx(0.5) and page.player.start_s == page.clip.start_s


@pytest.mark.slow
def test_a_recording_is_used_as_the_audio(tuning, tmp_path):
    page = tuning.preview
    ogg = write_wav(
        tmp_path / "recording.webm", tone(1.5).samples, 48000, codec="libopus"
    ).read_bytes()
    message = {"kind": "recorded", "type": "audio/webm;codecs=opus"}
    page.recorder._handle_custom_msg(message, [memoryview(ogg)])
    assert page.task.wait(WAIT_S) and page.task.error is None
    recording = Path(page.audio.chosen)
    assert recording.suffix == ".wav" and recording.parent == page.session.folder
    assert page.session.total_s == pytest.approx(0.5, abs=0.05), "24000 samples of 48 kHz"
    assert page.clip is not None and not list(page.session.folder.glob("*.webm"))
    page.recorder._handle_custom_msg(message, [b"no sound at all"])
    assert page.task.wait(WAIT_S)
    assert "What happened" in page.status.error.value
    page.recorder._handle_custom_msg(message, [bytes(9 << 20)])
    assert page.task.wait(WAIT_S) and "too large" in page.status.error.value
