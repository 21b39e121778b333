"""The sweep page: one control, values, people; queued, made, compared."""

import pytest
from helpers.studio import WAIT_S

from heygem.batch.workers.worker import Worker
from heygem.core.errors import ParameterError
from heygem.studio.pages.sweep import RECIPE, read_values

pytestmark = pytest.mark.usefixtures("isolated_home")


def test_values_are_numbers_however_they_are_separated():
    assert read_values(" 0.8, 1;1.2，1 ") == [0.8, 1.0, 1.2]
    for text in ("", "1", "1, 1", "1, big"):
        with pytest.raises(ParameterError):
            read_values(text)


@pytest.mark.slow
def test_a_sweep_is_queued_made_and_shown_side_by_side(studio, speech):
    page = studio.sweep
    assert repr(studio), "a widget without one is not shown by Voilà"
    assert page.control.value == "lips.openness_gain" and page.values.value == "0.75, 1, 1.25"
    page.control.value = "lips.offset_ms"
    assert page.values.value == "-40, 0, 40" and "-200 to 200 ms" in page.help.value
    page.button.click()
    assert "no video is chosen" in page.message.value
    folder = page.videos.folder.value
    page.videos.list.value = (f"{folder}/anna.mp4",)
    page.audio.chosen = str(speech)
    page.values.value = "0, 900"
    page.button.click()
    assert "900" in page.message.value and studio.queue.jobs() == [], "the recipe has its limits"
    page.values.value = "0，100"
    page.button.click()
    assert "0 of 2 videos are made (running)" in page.message.value
    begun = studio.queue.totals(batch=page.sweep.value)["pending"]
    assert begun.number == 2 and studio.queue.totals(batch="other")["pending"].number == 0
    jobs = studio.queue.jobs(batch=page.sweep.value)
    assert [job.name.rpartition("-")[2] for job in jobs] == ["offset_ms=0", "offset_ms=100"]
    assert (page.results / page.sweep.value / RECIPE).is_file()

    Worker(studio.queue, until_empty=True).run()
    page.refresh()
    assert page.task.wait(2 * WAIT_S) and page.task.error is None
    assert "<iframe" in page.comparison.value and "offset_ms" in page.comparison.value
    base = f"/files/made/{page.sweep.value}/"
    assert base in page.comparison.value, "films of the comparison are found"
    assert list((page.results / page.sweep.value / "comparison").rglob("*.mp4"))

    page.comparison.value, name = "", page.sweep.value
    page.sweep.value = ""
    page._list_sweeps()
    page.sweep.value = name
    assert page._shown == name
