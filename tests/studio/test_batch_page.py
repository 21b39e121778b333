"""The batch page: adding, ordering and stopping jobs."""

import time

import pytest
from helpers.studio import WAIT_S, choose_videos, send_request, video_names

from heygem.batch.items import plan_items
from heygem.batch.queue import JobQueue
from heygem.batch.queue.job import STATES
from heygem.batch.queue.retry import DISK_FULL
from heygem.batch.queue.rows import StateTotals
from heygem.batch.workers import background
from heygem.config.params import Params
from heygem.core import i18n
from heygem.server.client import HubQueue
from heygem.studio import job_rows, queue_view
from heygem.studio.pages.batch import BatchPage
from heygem.studio.pages.studio import StudioApp
from heygem.studio.recipe_files import save_recipe

pytestmark = pytest.mark.usefixtures("isolated_home")


@pytest.mark.slow
def test_adding_without_files_names_the_missing_one(studio):
    studio.batch.add_button.click()
    assert "no video is chosen" in studio.batch.jobs.error_box.value
    choose_videos(studio, "anna.mp4")
    studio.batch.audio.chosen = ""
    studio.batch.add_button.click()
    assert "needs a video and a sound" in studio.batch.jobs.error_box.value
    assert studio.queue.jobs() == []


@pytest.mark.slow
def test_jobs_are_ordered_stopped_and_removed_by_buttons(studio):
    choose_videos(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    first, second = (row["id"] for row in studio.batch.jobs.table.rows)
    send_request(studio, "move", second, places=-1)
    assert video_names(studio) == ["broken.mp4", "anna.mp4"]
    send_request(studio, "place", second, before=None)
    assert video_names(studio) == ["anna.mp4", "broken.mp4"]
    deadline = time.monotonic() + WAIT_S
    while not (signs := studio.batch.jobs.table.rows[1]["warnings"]):
        assert time.monotonic() < deadline, "a file that cannot be used waits without a sign"
        studio.batch.refresh()
        time.sleep(0.05)
    assert signs[0].startswith('<span class="hg-refused">broken.mp4: cannot be used · ')
    send_request(studio, "cancel", first)
    assert [row["state"] for row in studio.batch.jobs.table.rows] == ["cancelled", "pending"]
    send_request(studio, "retry", first)
    studio.batch.jobs.stop_button.click()
    assert {row["state"] for row in studio.batch.jobs.table.rows} == {"cancelled"}
    send_request(studio, "remove", first)
    assert video_names(studio) == ["broken.mp4"]
    send_request(studio, "remove", first)
    assert "no such job" in studio.batch.jobs.error_box.value, "another page may have removed it"


@pytest.mark.slow
def test_a_pasted_table_is_queued_whole_or_not_at_all(studio, speech, tmp_path):
    batch = studio.batch
    batch.mode.value = "pairs"
    assert batch.videos.layout.display == "none" and batch.pairs.layout.display == "flex"
    batch.pairs.rows.value = f"anna.mp4\t{speech}\nabsent.mp4\t{speech}\n"
    batch.pairs.button.click()
    assert "pair 2: no such file" in batch.jobs.error_box.value and batch.jobs.table.rows == []
    assert "absent.mp4" in batch.pairs.rows.value, "the text stays to be corrected"
    batch.pairs.rows.value = f"""video,audio,text,name,lips.openness_gain
anna.mp4,{speech},,,1.4
broken.mp4,,Good evening,evening,
"""
    batch.pairs.button.click()
    assert batch.jobs.error_box.value == "" and batch.pairs.rows.value == ""
    assert [row["video"] for row in batch.jobs.table.rows] == ["anna.mp4", "evening"]
    first, second = studio.queue.jobs()
    assert first.video == str(tmp_path / "people" / "anna.mp4")
    assert Params.from_dict(studio.queue.get(first.id).params).lips.openness_gain == 1.4
    assert second.text == "Good evening" and second.audio == ""
    batch.pairs.button.click()
    assert "the table is empty" in batch.jobs.error_box.value
    batch.pairs.rows.value = "video\nanna.mp4"  # with the sound that is chosen
    batch.pairs.button.click()
    assert studio.queue.jobs()[-1].audio == str(speech)


@pytest.mark.slow
def test_one_pair_is_added_from_the_file_browsers(studio, speech, tmp_path):
    studio.batch.mode.value = "pairs"
    studio.batch.add_button.click()
    assert "no video is chosen" in studio.batch.jobs.error_box.value
    studio.batch.video.chosen = str(tmp_path / "people" / "anna.mp4")
    studio.batch.add_button.click()
    assert video_names(studio) == ["anna.mp4"]


@pytest.mark.slow
def test_pairs_of_the_recipe_fill_the_table(speech, tmp_path):
    rows = [{"video": "anna.mp4", "audio": str(speech), "lips.offset_ms": 40}]
    recipe = {"inputs": {"output": str(tmp_path / "made"), "pairs": rows}}
    page = StudioApp(
        params=Params.from_dict(recipe), folder=tmp_path, queue_path=tmp_path / "queue.db"
    )
    assert page.batch.mode.value == "pairs"
    (pair,) = page.batch.pairs.read()
    assert pair.video == "anna.mp4" and pair.changes == {"lips.offset_ms": 40}
    page.batch.close()


@pytest.mark.slow
def test_the_time_left_is_estimated_from_the_first_job_on(studio):
    choose_videos(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    drawing = {"stage": "render", "done": 1, "total": 4, "elapsed_s": 5.0, "left_s": 15.0}
    drawing["fraction"] = 0.25
    running = studio.queue.jobs()[0]._replace(state="running", progress=drawing, length_s=10.0)

    def totals(**numbers):
        empty = dict.fromkeys(STATES, StateTotals())
        return empty | {
            state: StateTotals(number, 10.0 * number, 40.0 * number * (state == "done"))
            for state, number in numbers.items()
        }

    assert job_rows.seconds_left(totals(pending=1), []) is None
    counts = totals(running=1, pending=2)
    assert job_rows.seconds_left(counts, [running]) == pytest.approx(15 + 2 * 20)
    refused = running._replace(state="pending", length_s=10.0)
    left_s = job_rows.seconds_left(counts, [running], refused=[refused])
    assert left_s == pytest.approx(15 + 20), "a file that cannot be used takes no time"
    assert job_rows.seconds_left(totals(done=1, pending=1), []) == pytest.approx(40)
    counts = totals(done=1, running=1, pending=1, failed=1)
    assert job_rows.total_progress(counts, [running]) == pytest.approx(1.25 / 3)
    text = job_rows.summary(totals(done=1, running=1), True, i18n.translator(), left_s=15)
    assert text == "1 of 2 finished, 0 failed · 15 s left"
    late = drawing | {"stage": "verify", "done": 0, "total": 1, "fraction": 0.9}
    row = job_rows.table_row(running._replace(progress=late), i18n.translator())
    assert row["progress"] == 0.9, "no stage after the rendering counts as nothing"
    assert row["status"] == "checking the finished video · 15 s left", "0/1 says nothing"


@pytest.mark.slow
def test_failed_and_stopped_jobs_are_tried_again_together(studio):
    choose_videos(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    studio.batch.jobs.stop_button.click()
    assert {row["state"] for row in studio.batch.jobs.table.rows} == {"cancelled"}
    studio.batch.jobs.retry_button.click()
    assert {row["state"] for row in studio.batch.jobs.table.rows} == {"pending"}


@pytest.mark.slow
def test_a_worker_that_died_is_restarted_once_while_the_page_is_open(studio, monkeypatch):
    choose_videos(studio, "anna.mp4")
    studio.batch.add_button.click()
    started = []
    monkeypatch.setattr(background, "start_worker", lambda queue: started.append(1))
    studio.batch.refresh()
    assert not started, "nobody has pressed start"
    studio.queue.claim("w")  # somebody did, elsewhere
    # ... and it died.
    monkeypatch.setattr("heygem.batch.queue.process.is_running", lambda holder: False)
    studio.batch.refresh()
    studio.batch.refresh()
    assert started == [1], "not again and again"
    assert [row["state"] for row in studio.batch.jobs.table.rows] == ["pending"]


@pytest.mark.slow
def test_pausing_is_shown_and_ended_by_start(studio):
    choose_videos(studio, "anna.mp4")
    studio.batch.add_button.click()
    studio.batch.jobs.pause_button.click()
    assert studio.batch.jobs.summary.value.endswith("· paused")
    studio.queue.resume()
    studio.queue.pause(DISK_FULL)  # as a worker does
    studio.batch.refresh()
    assert "the disk is full: free some space" in studio.batch.jobs.summary.value
    studio.batch.jobs.start_button.click()
    assert "disk" not in studio.batch.jobs.summary.value and studio.queue.paused() == ""


@pytest.mark.slow
def test_a_long_queue_is_shown_a_page_at_a_time(studio, monkeypatch):
    monkeypatch.setattr(queue_view, "ROWS", 2)
    choose_videos(studio, "anna.mp4", "broken.mp4")
    assert studio.batch.jobs.pager.layout.display == "none"
    for _ in range(3):
        studio.batch.add_button.click()
    batch = studio.batch
    assert len(batch.jobs.table.rows) == 2 and "1–2 of 6" in batch.jobs.page_text.value
    batch.jobs.later_button.click()
    batch.jobs.later_button.click()
    batch.jobs.later_button.click()
    assert "5–6 of 6" in batch.jobs.page_text.value
    studio.queue.cancel_all()
    studio.queue.clear()
    batch.refresh()
    assert batch.jobs.table.rows == [] and batch.jobs.pager.layout.display == "none"


@pytest.mark.slow
def test_a_page_opened_again_shows_the_queue(studio, tmp_path):
    choose_videos(studio, "anna.mp4")
    studio.batch.add_button.click()
    again = StudioApp(params=studio.params, folder=tmp_path, queue_path=tmp_path / "queue.db")
    assert [row["path"] for row in again.batch.jobs.table.rows] == [
        str(tmp_path / "people" / "anna.mp4")
    ]
    again.batch.close()


@pytest.mark.slow
def test_an_example_is_one_click_away_while_nothing_is_queued(studio):
    page = studio.batch
    assert page.example_button.layout.display == ""
    page.example_button.click()
    assert video_names(studio) == ["hopper.mp4"] and page.jobs.error_box.value == ""
    assert page.audio.chosen.endswith("speech_en.wav")
    assert page.example_button.layout.display == "none"


@pytest.mark.slow
def test_users_of_a_server_are_not_offered_what_would_be_refused(tmp_path):
    """Order and pauses of a queue that several people use are the operator's."""
    own = JobQueue(tmp_path / "queue.db")
    recipe = {"videos": ["/v/anna.mp4"], "audio": "/v/a.wav", "output": str(tmp_path)}
    own.add(plan_items(Params.from_dict({"inputs": recipe})))
    shared = JobQueue(own.path)
    shared.is_shared = HubQueue.is_shared
    pages = [
        BatchPage(queue, Params(), folder=tmp_path, translate=i18n.translator())
        for queue in (own, shared)
    ]
    alone, served = (page.jobs for page in pages)
    assert alone.table.rows[0]["actions"] == ["move", "cancel", "remove"]
    assert served.table.rows[0]["actions"] == ["cancel", "remove"]
    assert "operator" in served.table.labels["up"] and "operator" not in alone.table.labels["up"]
    assert served.pause_button.layout.display == "none" != alone.pause_button.layout.display
    for page in pages:
        page.close()


@pytest.mark.slow
def test_each_row_has_a_style_or_a_saved_recipe(studio, tmp_path):
    batch = studio.batch
    batch.choice.folder = tmp_path / "params"
    save_recipe(
        Params.from_dict({"lips": {"openness_gain": 1.4}}), "mine", folder=tmp_path / "params"
    )
    batch.refresh()
    assert ("mine", "recipe:mine") in batch.recipe.options
    batch.recipe.value = "preset:calm"
    choose_videos(studio, "anna.mp4", "broken.mp4")
    batch.add_button.click()
    assert [row["recipe_label"] for row in batch.jobs.table.rows] == ["Calm", "Calm"]
    assert video_names(studio) == ["anna.mp4", "broken.mp4"]
    first = batch.jobs.table.rows[0]["id"]
    send_request(studio, "recipe", first, recipe="recipe:mine")
    assert [row["recipe_label"] for row in batch.jobs.table.rows] == ["mine", "Calm"]
    assert video_names(studio) == ["anna.mp4", "broken.mp4"], "it keeps its place"
    jobs = [studio.queue.get(row["id"]) for row in batch.jobs.table.rows]
    gains = [Params.from_dict(job.params).lips.openness_gain for job in jobs]
    assert gains == [1.4, 0.8]
    assert jobs[0].name != jobs[1].name and jobs[0].name.endswith("-mine")
    send_request(studio, "recipe", first, recipe="preset:clear")
    assert "no such job" in batch.jobs.error_box.value, "another page has changed it"
    assert len(batch.jobs.table.rows) == 2


def test_the_frame_being_drawn_is_shown_until_it_is_drawn(tmp_path):
    """One picture a job, the last one until there is a newer, and none after the drawing."""
    queue = JobQueue(tmp_path / "queue.db")
    recipe = {"inputs": {"output": str(tmp_path / "made")}, "mlflow": {"enabled": False}}
    row = {"video": str(tmp_path / "anna.mp4"), "audio": str(tmp_path / "a.wav")}
    params = Params.from_dict(recipe).override({"inputs.pairs": [row]})
    queue.add(plan_items(params))
    queue.register("worker")
    job = queue.claim("worker")
    details = job.item().details
    details.mkdir(parents=True)
    (details / ".heygem-0000-1-00000000-ab.live.jpg").write_bytes(b"a picture")

    def pictures(stage, before):
        queue.heartbeat(job.id, "worker", {"stage": stage})
        return job_rows.live_pictures(queue.jobs(states=["running"]), before)

    assert pictures("track", {}) == {}
    first = pictures("render", {})
    assert first == {job.id: "data:image/jpeg;base64,YSBwaWN0dXJl"}
    assert list(details.iterdir()) == [], "taken, so that the next one is drawn"
    assert pictures("render", first) == first
    assert pictures("finish", first) == {}
