"""The exporter: what Prometheus reads, and from where."""

import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from heygem.core.errors import InputError
from heygem.ops import machine, metrics

NVIDIA = """0, NVIDIA A100, 37, 1024, 40960, 51
1, NVIDIA A100, [N/A], [N/A], [N/A], 50
"""


def samples(text):
    """Value of each sample by its name and labels."""
    families = text_string_to_metric_families(text)
    return {
        (s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples
    }


def scrape(queue):
    return samples(generate_latest(metrics.registry(queue.path)).decode())


def test_queue_items_stages_and_failures_are_counted(queue, night):
    values = scrape(queue)
    assert values["heygem_up",] == 1
    assert values["heygem_queue_items", "pending"] == 2
    assert values["heygem_items_finished_total", "done"] == 21
    assert values["heygem_item_failures_total", "NO_FACE"] == 2
    assert values["heygem_queue_oldest_pending_seconds",] > 0
    assert values["heygem_queue_waiting_seconds", "anna"] == pytest.approx(20)
    assert values["heygem_item_seconds_count",] == 20
    assert values["heygem_item_seconds_sum",] == sum(range(1, 21))
    assert values["heygem_item_seconds_bucket", "5.0"] == 5
    assert values["heygem_stage_seconds_bucket", "5.0", "render"] == 10
    assert values["heygem_video_seconds_total",] == pytest.approx(200)
    assert values["heygem_disk_free_bytes", "results"] > 0


def test_a_running_item_shows_its_worker(queue, add):
    add("a")
    queue.claim("w7")
    values = scrape(queue)
    assert values["heygem_queue_items", "running"] == 1
    assert values["heygem_worker_memory_bytes", "w7"] > 1e6


@pytest.mark.fault
def test_without_a_queue_and_with_one_that_cannot_be_read_it_still_answers(queue, home):
    assert scrape(queue)["heygem_up",] == 1
    assert not queue.path.exists()  # a reader makes none
    queue.path.mkdir()
    values = samples(generate_latest(metrics.registry(queue.path / "x")).decode())
    assert values["heygem_up",] == 1
    queue.path.rmdir()
    queue.add([])
    queue.close()
    queue.path.chmod(0)
    queue.path.unlink()
    queue.path.symlink_to("/proc/self/mem")  # a file that SQLite cannot use
    assert scrape(queue)["heygem_memory_total_bytes",] > 0


@pytest.mark.slow
def test_it_listens_on_loopback_only_and_says_when_the_port_is_taken(queue):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, thread = metrics.serve(port, queue.path)
    try:
        assert server.server_address[0] == "127.0.0.1"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert b"heygem_up 1.0" in answer.read()
        with pytest.raises(InputError, match="cannot listen"):
            metrics.serve(port, queue.path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_gpus_are_read_from_the_drivers_table():
    (gpu,) = machine.parse_gpus(NVIDIA)
    assert (gpu.name, gpu.utilization, gpu.total_bytes) == ("NVIDIA A100", 0.37, 40960 << 20)
