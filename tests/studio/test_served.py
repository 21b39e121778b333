"""The studio of one of several users: the queue's page with what the hub's service allows."""

import shutil

import pytest
from helpers.browser import SAMPLES

from heygem.batch.queue import JobQueue
from heygem.config.params import Params
from heygem.core.errors import HeygemError, PolicyError
from heygem.studio.pages.served import ServedStudio

pytestmark = pytest.mark.usefixtures("isolated_home")


class UserQueue(JobQueue):
    """A queue of this machine with what the service adds to it."""

    agreed, refusal = False, None

    def usage(self):
        quota = {"videos_per_day": 40, "minutes_per_day": 60.0}
        used = {"videos": len(self.jobs()), "minutes": 0.5}
        return {"agreed": self.agreed, "used": used, "quota": quota}

    def add(self, requests, **names):
        if self.refusal is not None:
            raise self.refusal
        return super().add(requests, **names)


@pytest.fixture
def studio(tmp_path):
    for name in ("hopper.jpg", "collins.mp4", "speech_en.wav"):
        shutil.copyfile(SAMPLES / name, tmp_path / name)
    params = Params().override({"lips.openness_gain": 1.2})
    return ServedStudio(queue=UserQueue(tmp_path / "queue.db"), params=params, folder=tmp_path)


def choose(studio, folder):
    page = studio.batch
    page.audio.chosen = str(folder / "speech_en.wav")
    page.videos.list.value = (str(folder / "collins.mp4"), str(folder / "hopper.jpg"))


@pytest.mark.slow
def test_chosen_videos_are_queued_and_count(studio, tmp_path):
    choose(studio, tmp_path)
    studio.batch.add_button.click()
    jobs = studio.batch.queue.jobs()
    names = ["collins.mp4", "hopper.jpg"]
    assert [job.video for job in jobs] == [str(tmp_path / name) for name in names]
    assert studio.batch.queue.get(jobs[0].id).params["lips"]["openness_gain"] == 1.2
    studio.allowance.refresh()
    assert "2 of 40 videos, 0.5 of 60 minutes" in studio.allowance.value


@pytest.mark.slow
def test_the_agreement_is_asked_for_until_it_is_given(studio):
    assert 'href="/services/heygem/agreement"' in studio.allowance.value
    studio.batch.queue.agreed = True
    studio.allowance.refresh()
    assert "agreement" not in studio.allowance.value
    assert 'href="/services/heygem/"' in studio.allowance.value


@pytest.mark.slow
def test_a_refusal_is_shown_with_what_to_do(studio, tmp_path):
    choose(studio, tmp_path)
    studio.batch.queue.refusal = PolicyError("over your quota", seen="<3>", remedy="wait")
    studio.batch.add_button.click()
    shown = studio.batch.jobs.error_box.value
    assert "over your quota" in shown and "&lt;3&gt;" in shown and "wait" in shown
    assert studio.batch.queue.jobs() == []


@pytest.mark.slow
def test_a_service_that_is_away_is_said(studio, monkeypatch):
    def away():
        raise HeygemError("the queue's service cannot be reached")

    monkeypatch.setattr(studio.batch.queue, "usage", away)
    studio.allowance.refresh()
    assert "cannot be reached" in studio.allowance.value
