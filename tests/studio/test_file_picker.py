"""Choosing files on the server."""

import io
import stat

import numpy as np
import PIL.Image
from helpers.media import picture, write_video
from helpers.studio import WAIT_S

from heygem.server import ROOT_VARIABLE
from heygem.studio import file_picker
from heygem.studio.images import thumbnail
from heygem.studio.recent_files import FILE, add_recent, recent_files


def test_a_folder_is_listed_without_hidden_and_other_files(clip, wav, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".secret.mp4").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    labels = [label for label, _ in file_picker.list_folder(tmp_path, file_picker.VIDEO_SUFFIXES)]
    assert labels[0] == "../" and "sub/" in labels and "clip.mp4" in labels
    assert not {"tone.wav", ".secret.mp4", "notes.txt"} & set(labels)


def test_choosing_a_file_shows_its_thumbnail_size_and_duration(clip, tmp_path):
    browser = file_picker.FilePicker("Video", tmp_path, kind="video")
    browser.list.value = clip
    assert browser.chosen == str(clip)
    assert "64×48, 25 fps, 1.0 s" in browser.details.value
    assert 0 < len(browser.picture.value) < 20_000
    other = file_picker.FilePicker("Video", tmp_path.parent, kind="video")
    other.chosen = str(clip)
    assert other.list.value == clip, "a file that was typed or uploaded is selected in its folder"


def test_a_film_that_begins_blank_is_shown_by_a_later_picture(tmp_path):
    def make(index, width, height):
        blank = np.full((height, width, 3), 255, np.uint8)
        return blank if index < 20 else picture(index, width, height)

    film = write_video(tmp_path / "faded.mp4", frames=40, make=make)
    shown = PIL.Image.open(io.BytesIO(thumbnail(film)[0]))
    assert np.asarray(shown).std() > 20


def test_opening_a_folder_chooses_nothing(tmp_path):
    (tmp_path / "sub").mkdir()
    browser = file_picker.FilePicker("Video", tmp_path, kind="video")
    browser.list.value = tmp_path / "sub"
    assert browser.folder == tmp_path / "sub" and browser.chosen == ""


def test_videos_are_chosen_by_their_thumbnails(clip, silent_clip, tmp_path):
    (tmp_path / "empty.mp4").touch()
    one = file_picker.FilePicker("Video", tmp_path, kind="video")
    several = file_picker.FilesPicker("Videos", tmp_path, kind="video")
    for browser in (one, several):
        assert browser.strip.task.wait(WAIT_S)
        sources = {item["name"]: item["source"][:22] for item in browser.strip.items}
        picture = "data:image/jpeg;base64"
        assert sources == {"clip.mp4": picture, "silent.mp4": picture, "empty.mp4": ""}
    one.strip.clicked = {"path": str(clip), "n": 1}
    assert one.chosen == str(clip) and one.strip.selected == [str(clip)]
    for n, path in enumerate((silent_clip, clip, silent_clip)):
        several.strip.clicked = {"path": str(path), "n": n}
    assert several.list.value == (str(clip),) and several.strip.selected == [str(clip)]


def test_several_videos_are_chosen_and_folders_are_opened(clip, tmp_path):
    (tmp_path / "sub" / "anna.heygem").mkdir(parents=True)
    browser = file_picker.FilesPicker("Videos", tmp_path, kind="video")
    browser.list.value = (str(clip), str(tmp_path / "sub"))
    assert browser.list.value == (str(clip),), "a folder among files is not chosen"
    browser.list.value = (str(tmp_path / "sub"),)
    assert browser.folder.value == str(tmp_path / "sub")
    bundle = str(tmp_path / "sub" / "anna.heygem")
    assert [path for _, path in browser.list.options] == [str(tmp_path), bundle]
    browser.list.value = (bundle,)
    assert browser.list.value == (bundle,), "an avatar bundle is chosen as a video is"
    browser.folder.value = str(tmp_path / "nowhere")
    assert "cannot read" in browser.details.value


def test_the_error_of_a_broken_file_is_shown(tmp_path):
    (tmp_path / "empty.mp4").touch()
    browser = file_picker.FilePicker("Video", tmp_path, kind="video")
    browser.path.value = str(tmp_path / "empty.mp4")
    assert "empty" in browser.details.value


def test_files_lately_chosen_are_offered_in_every_picker(clip, silent_clip, tmp_path, monkeypatch):
    """Newest first, uploads and files of the server, until they are gone; on every page."""
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    one = file_picker.FilePicker("Video", tmp_path, kind="video")
    one.chosen = str(silent_clip)
    one.chosen = str(clip)
    one.chosen = str(tmp_path / "absent.mp4")
    several = file_picker.FilesPicker("Videos", elsewhere, kind="video")
    several.recent_button.click()
    assert [path for _, path in several.list.options] == list(
        map(str, (elsewhere, clip, silent_clip))
    )
    several.list.value = (str(silent_clip), str(clip))
    assert several.list.value == (str(silent_clip), str(clip)), "chosen out of several folders"
    assert recent_files("video") == [clip, silent_clip] and recent_files("audio") == []
    several.list.value = (str(elsewhere),)
    assert several.folder.value == str(elsewhere), "and back"
    silent_clip.unlink()
    one.recent_button.click()
    assert [path for _, path in one.list.options] == [one.folder, clip]
    one.list.value = clip
    assert one.chosen == str(clip) and one.list.options[-1][1] == clip, "the list stays"
    assert stat.S_IMODE((tmp_path / "root" / "runs" / FILE).stat().st_mode) == 0o600


def test_a_damaged_list_of_recent_files_is_begun_anew(clip, tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    (tmp_path / "runs").mkdir()
    for content in ("", "[]", '{"video": 3}', "\x00"):
        (tmp_path / "runs" / FILE).write_text(content)
        assert recent_files("video") == []
        add_recent("video", clip)
        assert recent_files("video") == [clip]


def test_a_picker_opens_on_sent_files_or_examples_rather_than_on_code(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    samples, sent = tmp_path / "samples", tmp_path / "runs" / "uploads"
    for folder in (samples, sent, tmp_path / "deploy"):
        folder.mkdir(parents=True)
    (samples / "anna.mp4").touch()
    monkeypatch.setattr(file_picker, "SAMPLES", samples)
    assert file_picker.FilePicker("Video", tmp_path, kind="video").folder == samples
    assert file_picker.FilesPicker("Videos", tmp_path, kind="video").folder.value == str(samples)
    (sent / "voice.wav").touch()
    assert file_picker.FilePicker("Video", tmp_path, kind="video").folder == samples, (
        "no video sent"
    )
    assert file_picker.FilePicker("Sound", tmp_path, kind="audio").folder == sent
    (sent / "ben.mp4").touch()
    assert file_picker.FilePicker("Video", tmp_path, kind="video").folder == sent
    elsewhere = tmp_path / "deploy"
    assert file_picker.FilePicker("Video", elsewhere, kind="video").folder == elsewhere
