"""The batch page: adding, ordering and stopping jobs."""

import pytest
from helpers.studio import choose_videos, send_request, video_names

from heygem.batch import folder_queue as queue
from heygem.config.params import Params
from heygem.core import i18n
from heygem.studio.pages import batch as batch_page
from heygem.studio.pages.studio import StudioApp

pytestmark = pytest.mark.usefixtures("isolated_home")


def test_adding_without_files_names_the_missing_one(studio):
    studio.batch.add_button.click()
    assert "no video is chosen" in studio.batch.error_box.value
    choose_videos(studio, "anna.mp4")
    studio.batch.audio.chosen = ""
    studio.batch.add_button.click()
    assert "needs a video and a sound" in studio.batch.error_box.value
    assert studio.queue.jobs() == []


def test_jobs_are_ordered_stopped_and_removed_by_buttons(studio):
    choose_videos(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    first, second = (row["id"] for row in studio.batch.table.rows)
    send_request(studio, "move", second, places=-1)
    assert video_names(studio) == ["broken.mp4", "anna.mp4"]
    send_request(studio, "place", second, before=None)
    assert video_names(studio) == ["anna.mp4", "broken.mp4"]
    send_request(studio, "cancel", first)
    assert [row["state"] for row in studio.batch.table.rows] == ["cancelled", "waiting"]
    send_request(studio, "retry", first)
    studio.batch.stop_button.click()
    assert {row["state"] for row in studio.batch.table.rows} == {"cancelled"}
    send_request(studio, "remove", first)
    assert video_names(studio) == ["broken.mp4"]
    send_request(studio, "remove", first)
    assert "no such job" in studio.batch.error_box.value, "another page may have removed it"


@pytest.mark.slow
def test_a_pasted_table_is_queued_whole_or_not_at_all(studio, speech, tmp_path):
    batch = studio.batch
    batch.mode.value = "pairs"
    assert batch.videos.layout.display == "none" and batch.pairs.layout.display == "flex"
    batch.pairs.rows.value = f"anna.mp4\t{speech}\nabsent.mp4\t{speech}\n"
    batch.pairs.button.click()
    assert "pair 2: no such file" in batch.error_box.value and batch.table.rows == []
    assert "absent.mp4" in batch.pairs.rows.value, "the text stays to be corrected"
    batch.pairs.rows.value = f"""video,audio,text,name,lips.openness_gain
anna.mp4,{speech},,,1.4
broken.mp4,,Good evening,evening,
"""
    batch.pairs.button.click()
    assert batch.error_box.value == "" and batch.pairs.rows.value == ""
    assert [row["video"] for row in batch.table.rows] == ["anna.mp4", "evening"]
    first, second = studio.queue.jobs()
    assert first.video == str(tmp_path / "people" / "anna.mp4")
    assert Params.from_dict(first.params).lips.openness_gain == 1.4
    assert second.text == "Good evening" and second.audio == ""
    batch.pairs.button.click()
    assert "the table is empty" in batch.error_box.value
    batch.pairs.rows.value = "video\nanna.mp4"  # with the sound that is chosen
    batch.pairs.button.click()
    assert studio.queue.jobs()[-1].audio == str(speech)


def test_one_pair_is_added_from_the_file_browsers(studio, speech, tmp_path):
    studio.batch.mode.value = "pairs"
    studio.batch.add_button.click()
    assert "no video is chosen" in studio.batch.error_box.value
    studio.batch.video.chosen = str(tmp_path / "people" / "anna.mp4")
    studio.batch.add_button.click()
    assert video_names(studio) == ["anna.mp4"]


def test_pairs_of_the_recipe_fill_the_table(speech, tmp_path):
    rows = [{"video": "anna.mp4", "audio": str(speech), "lips.offset_ms": 40}]
    recipe = {"inputs": {"output": str(tmp_path / "made"), "pairs": rows}}
    page = StudioApp(
        params=Params.from_dict(recipe), folder=tmp_path, queue_folder=tmp_path / "queue"
    )
    assert page.batch.mode.value == "pairs"
    (pair,) = page.batch.pairs.read()
    assert pair.video == "anna.mp4" and pair.changes == {"lips.offset_ms": 40}
    page.batch.close()


def test_the_time_left_is_estimated_from_the_first_job_on():
    def job(state, **more):
        return queue.Job(state, "v.mp4", "a.wav", {}, 1.0, state=state, length_s=10.0, **more)

    drawing = {"stage": "render", "done": 1, "total": 4, "elapsed_s": 5.0, "left_s": 15.0}
    running, waiting = job("running", progress=drawing), job("waiting")
    assert batch_page.seconds_left([waiting]) is None
    assert batch_page.seconds_left([running, waiting, waiting]) == pytest.approx(15 + 2 * 20)
    done = job("done", seconds=40.0)
    assert batch_page.seconds_left([done, waiting]) == pytest.approx(40)
    assert batch_page.total_progress([done, running, waiting, job("failed")]) == pytest.approx(
        1.25 / 3
    )
    text = batch_page.summary([done, running, waiting], True, i18n.translator())
    assert text == "1 of 3 finished, 0 failed · 45 s left"


def test_a_worker_that_died_is_restarted_once_while_the_page_is_open(studio, monkeypatch):
    choose_videos(studio, "anna.mp4")
    studio.batch.add_button.click()
    started = []
    monkeypatch.setattr(queue.JobQueue, "start", lambda queue: started.append(1))
    studio.batch.refresh()
    assert not started, "nobody has pressed start"
    (studio.queue.folder / ".call").touch()  # somebody did, and no worker runs
    studio.batch.refresh()
    studio.batch.refresh()
    assert started == [1], "not again and again"


def test_a_page_opened_again_shows_the_queue(studio, tmp_path):
    choose_videos(studio, "anna.mp4")
    studio.batch.add_button.click()
    again = StudioApp(params=studio.params, folder=tmp_path, queue_folder=tmp_path / "queue")
    assert [row["path"] for row in again.batch.table.rows] == [
        str(tmp_path / "people" / "anna.mp4")
    ]
    again.batch.close()
