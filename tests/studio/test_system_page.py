"""The system page: disk, memory and the worker process."""

import threading
import time

import pytest

from heygem.batch.workers.worker import Worker as BatchWorker

pytestmark = pytest.mark.usefixtures("isolated_home")


@pytest.mark.slow
def test_low_disk_space_is_a_warning(studio, monkeypatch):
    assert "GB free" in studio.system.text.value and "⚠" not in studio.system.text.value
    monkeypatch.setattr("heygem.studio.pages.system.LOW_DISK_GB", 1e9)
    studio.system.refresh_button.click()
    assert "Little disk space" in studio.system.text.value
    assert "none; the next job loads" in studio.system.text.value
    assert studio.system.release_button.disabled


@pytest.mark.slow
def test_an_idle_worker_is_shown_and_can_be_released(studio):
    thread = threading.Thread(target=BatchWorker(studio.queue).run)
    thread.start()
    deadline = time.monotonic() + 10
    while studio.system.release_button.disabled:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        studio.system.refresh()
    assert "idle with its models loaded" in studio.system.text.value
    studio.system.release_button.click()
    thread.join(10)
    assert not thread.is_alive()
    studio.system.refresh_button.click()
    assert studio.system.release_button.disabled
