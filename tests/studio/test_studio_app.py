"""The studio app: a batch from choosing files to the ZIP of results."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.studio import WAIT_S, choose_videos, video_names

from heygem.batch.workers.worker import Worker as BatchWorker
from heygem.core.i18n import translator
from heygem.server import ROOT_VARIABLE
from heygem.studio.pages.history import HistoryPage

pytestmark = pytest.mark.usefixtures("isolated_home")


def with_children(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from with_children(child)


@pytest.mark.slow
def test_a_hidden_field_hides_no_other_one(studio):
    """Whoever shares its layout would be hidden with it: a sweep once had no control to choose."""
    owners = {}
    for widget in with_children(studio):
        owners.setdefault(widget.layout.model_id, []).append(widget)
    shared = [each for each in owners.values() if len(set(each)) > 1]
    assert not [each for each in shared if each[0].layout.display == "none"]
    assert studio.sweep.control.layout.display is None


@pytest.mark.slow
def test_a_batch_with_one_broken_video_from_choosing_to_zip(studio, tmp_path, monkeypatch):
    choose_videos(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    assert len(studio.batch.jobs.table.rows) == 2 and "0 of 2" in studio.batch.jobs.summary.value
    BatchWorker(studio.queue, until_empty=True).run()
    studio.batch.refresh()
    first, second = studio.batch.jobs.table.rows
    assert first["state"] == "done" and first["progress"] == 1, first["error"]
    assert second["state"] == "failed" and "broken.mp4" in second["error"]
    assert "What happened" in second["error"] and "What to do" in second["error"]
    assert second["actions"] == ["retry", "remove"] and first["actions"] == ["play", "remove"]
    assert (
        "1 of 2 finished, 1 failed" in studio.batch.jobs.summary.value
        and studio.batch.jobs.bar.value == 1
    )
    studio.batch.jobs.add_thumbnails()
    assert studio.batch.jobs.table.thumbnails[first["path"]].startswith("data:image/jpeg;base64,")

    history = studio.history
    studio.batch.jobs.table.request = {"action": "play", "id": first["id"], "n": 1}
    assert history.listing_task.wait(WAIT_S) and studio.selected_index == 2
    assert history.player.result_url.endswith("anna-speech.mp4"), "played from its row"
    history.wish(history.folder / "gone.mp4")
    history.refresh()
    assert history.listing_task.wait(WAIT_S)
    assert "not among the results" in history.message.value and "gone.mp4" in history.message.value
    for status in (history.zip_status, history.trace_status):
        assert status.row.layout.display == "none", "no empty strip above the results"
    (row,) = history.list.rows
    assert row["picture"].startswith("data:image/jpeg;base64,") and len(row["picture"]) < 40_000
    assert (row["person"], row["sound"], row["recipe"]) == ("anna.mp4", "speech.wav", "Natural")
    assert row["length_s"] == pytest.approx(2.0, abs=0.1) and row["bytes"] > 1000
    studio.history.zip_button.click()
    assert studio.history.task.wait(WAIT_S) and "videos: 1," in studio.history.download_link.value
    with zipfile.ZipFile(studio.history.folder / "results.zip") as archive:
        names = sorted(archive.namelist())
    assert [Path(name).suffix for name in names] == [".json", ".mp4"]

    history.list.request = {"action": "show", "id": row["id"], "n": 1}
    assert studio.history.player.result_url.endswith("anna-speech.mp4")
    assert history.source_task.wait(WAIT_S)
    assert history.player.source_url == "files/people/anna.mp4", "source beside result"
    monkeypatch.setenv(ROOT_VARIABLE, str(history.folder))  # the source lies outside it
    history.play(history._results[row["id"]])
    assert history.source_task.wait(WAIT_S)
    assert history.player.source_url == "heygem/sources/details/anna-speech"
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    anna, aside = tmp_path / "people" / "anna.mp4", tmp_path / "aside.mp4"
    anna.rename(aside)
    history.play(history._results[row["id"]])
    assert history.source_task.wait(WAIT_S)
    assert (history.player.source_url, history.player.mode) == ("", "result_only")
    assert "no longer there" in history.source_note.value
    aside.rename(anna)
    history.again_recipe.value = "preset:calm"
    history.again_button.click()
    again = studio.queue.jobs()[-1]
    assert (again.name, again.state) == ("anna-speech-calm", "pending")
    history.list.chosen = [row["id"]]
    assert history.zip_button.description == "Make a ZIP of 1 chosen"
    history.list.chosen = []
    assert "openness_gain: 1.0" in studio.history.details.value
    studio.history.trace_button.click()
    assert studio.history.trace_task.wait(WAIT_S)
    assert "made here, unchanged" in studio.history.trace_text.value
    assert "**" not in studio.history.trace_text.value, "no Markdown"
    result = studio.history.folder / "anna-speech.mp4"
    content = result.read_bytes()
    history.list.chosen = [row["id"]]
    history.delete_button.click()
    assert not result.exists() and not (studio.history.folder / "results.zip").exists()
    assert studio.history.download_link.value == ""
    assert studio.history.listing_task.wait(WAIT_S) and studio.history.list.rows == []
    studio.history.trash.children[1].children[0].click()
    assert result.read_bytes() == content
    assert studio.history.listing_task.wait(WAIT_S) and len(studio.history.list.rows) == 1
    assert studio.history.trash.children == ()
    assert studio.history.player.result_url == ""


@pytest.mark.slow
def test_the_single_tab_queues_the_whole_video(studio, speech, tmp_path):
    studio.single.button.click()
    assert "needs a video and a sound" in studio.single.message.value
    studio.single.preview.video.chosen = str(tmp_path / "people" / "anna.mp4")
    studio.single.preview.audio.chosen = str(speech)
    studio.single.button.click()
    assert "Added to the queue" in studio.single.message.value
    studio.batch.refresh()
    assert video_names(studio) == ["anna.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("wished", ["ben.mp4", "abc123"])
def test_a_link_to_one_result_opens_it(studio, tmp_path, talking, monkeypatch, wished):
    """Two are made alike, under two names; a link of an earlier version says of what."""
    for name, identity in (("anna", "other"), ("ben", "abc123"), ("cleo", "abc123")):
        details = tmp_path / "made" / "details" / name
        details.mkdir(parents=True)
        shutil.copy(talking[0], tmp_path / "made" / f"{name}.mp4")
        facts = {"id": identity, "name": name, "output": {"file": f"../../{name}.mp4"}}
        (details / "manifest.json").write_text(json.dumps(facts))
    monkeypatch.setenv("QUERY_STRING", f"result={wished}")
    page = HistoryPage(tmp_path / "made", translate=translator("zh"))
    assert page.listing_task.wait(WAIT_S) and page.listing_task.error is None
    assert page.list.selected in {"ben.mp4", wished, "cleo.mp4"} - {"abc123"}
    assert page.player.result_url.endswith(page.list.selected)
    assert {row["link"] for row in page.list.rows} == {
        f"04_studio.ipynb?result={name}.mp4" for name in ("anna", "ben", "cleo")
    }
    for number, name in enumerate(("cleo", "ben")):
        page.list.request = {"id": f"{name}.mp4", "action": "show", "n": number}
        assert page.player.result_url.endswith(f"{name}.mp4"), "the one that was asked for"


def test_the_studio_opens_without_pytorch(tmp_path):
    """It takes two seconds, and only the drawing on a GPU needs it."""
    program = f"""if True:
        import os, sys
        from heygem.config.params import Params
        from heygem.studio.pages.studio import StudioApp
        recipe = {{"inputs": {{"output": {str(tmp_path / "made")!r}}}}}
        StudioApp(params=Params.from_dict(recipe), folder={str(tmp_path)!r},
                  queue_path={str(tmp_path / "queue.db")!r})
        print("torch" in sys.modules)
        sys.stdout.flush()
        os._exit(0)  # the page's threads go on
    """
    variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HEYGEM_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=variables, cwd=tmp_path
    )
    assert done.stdout == "False\n", done.stderr
