"""Alerts: what raises one, how often it is sent, and through which channels."""

import http.server
import json
import logging
import sys
import threading
import time
from pathlib import Path

import pytest

from heygem.core import logs
from heygem.core.errors import ParameterError
from heygem.ops import alert_rules, alert_settings, alerts, machine
from heygem.ops.alert_settings import AlertSettings

QUIET = {
    "patterns": (), "log": False, "disk_low": {"enabled": False}, "error_rate": {"enabled": False},
    "stalled_queue": {"enabled": False}, "ledger": {"enabled": False},
}  # fmt: skip


def settings(**more):
    return AlertSettings.model_validate(QUIET | more)


def rules(result):
    return [alert.rule for alert in result.active]


@pytest.fixture
def log(home):
    """The log of this test, and a way to write to it."""
    logger = logging.getLogger("heygem")
    before = list(logger.handlers), logger.level, logger.propagate
    logs.start_log()
    yield logger.getChild("test")
    for handler in set(logger.handlers) - set(before[0]):
        handler.close()
        logger.removeHandler(handler)
    logger.level, logger.propagate = before[1:]


@pytest.fixture
def listener():
    """An address that collects what is posted to it."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(302 if self.path == "/away" else 500 if self.path == "/no" else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_file_of_params_shows_the_defaults():
    path = Path(__file__).parents[2] / "params" / "operations" / "alerts.yaml"
    assert alert_settings.read(path) == AlertSettings()


@pytest.mark.parametrize(
    "text, message",
    [
        ("webhook: ftp://x", "https://"),
        ("patterns: [{name: a, pattern: '('}]", "no regular expression"),
        ("disk_low: {free: 3}", "free_gb"),
        ("cool_down: 3", "cool_down_min"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path, text, message):
    (tmp_path / "alerts.yaml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        alert_settings.read(tmp_path / "alerts.yaml")


@pytest.mark.fault
def test_out_of_memory_on_the_gpu_and_missing_files_are_found_in_the_log(log):
    chosen = settings(patterns=[p.model_dump() for p in AlertSettings().patterns])
    assert alerts.check(chosen).active == []
    with logs.recorded("anna"):
        try:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        except RuntimeError:
            log.exception("unexpected failure")
    for _ in range(2):
        log.warning("item failed: no such file")
    (alert,) = alerts.check(chosen).active
    assert alert.rule == "gpu_memory" and "anna" in alert.message
    log.warning("item failed: no such file")
    assert rules(alerts.check(chosen)) == ["gpu_memory", "file_not_found"]


def test_an_alert_in_the_log_does_not_raise_itself_for_ever(log):
    chosen = settings(log=True, patterns=[{"name": "x", "pattern": "needle", "within_min": 1}])
    log.warning("a needle")
    alerts.check(chosen)
    (alert,) = alerts.check(chosen).active
    assert alert.message.startswith("1 records")


@pytest.mark.slow
def test_an_alert_is_sent_once_in_a_cool_down_and_when_it_is_over(log, monkeypatch, listener):
    address, received = listener
    free = 1e9
    disks = lambda _: [machine.Disk("results", Path("/"), int(free), 10**12)]  # noqa: E731
    monkeypatch.setattr(machine, "disks", disks)
    chosen = settings(webhook=address, disk_low={"enabled": True}, cool_down_min=10)
    clock = time.time()
    monkeypatch.setattr(time, "time", lambda: clock)
    assert [a.rule for a in alerts.check(chosen).notified] == ["disk_low_results"]
    clock += 60
    result = alerts.check(chosen)
    assert rules(result) == ["disk_low_results"] and result.notified == []
    clock += 600
    assert alerts.check(chosen).notified
    clock -= 7200  # the clock was set back
    assert alerts.check(chosen).notified
    free = 900e9
    assert alerts.check(chosen).over == ["disk_low_results"]
    assert alerts.check(chosen).over == []
    assert [content["state"] for content in received] == ["active", "active", "active", "over"]
    assert received[0]["text"].startswith("heygem disk_low_results: 1.0 GB")


def test_many_failed_items_raise_an_alert(queue, night):
    rate = {"enabled": True, "above": 0.05, "at_least": 5, "within_min": 60}
    (alert,) = alerts.check(settings(error_rate=rate)).active
    assert "2 of 23 items failed" in alert.message and "NO_FACE" in alert.message
    assert not alerts.check(settings(error_rate=rate | {"above": 0.1})).active
    assert not alerts.check(settings(error_rate=rate | {"at_least": 24})).active


def test_items_that_nobody_takes_raise_an_alert(queue, add, work_off, monkeypatch):
    chosen = settings(stalled_queue={"enabled": True, "after_min": 30})
    add("a", "b")
    assert alerts.check(chosen).active == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 60)
    assert rules(alerts.check(chosen)) == ["stalled_queue"]
    queue.pause()  # by a person, who knows
    assert alerts.check(chosen).active == []
    queue.resume()
    queue.pause("the disk is full")
    (alert,) = alerts.check(chosen).active
    assert alert.rule == "queue_paused" and "the disk is full" in alert.message


def test_a_running_item_without_progress_raises_an_alert(queue, add, monkeypatch):
    chosen = settings(stalled_queue={"enabled": True, "after_min": 30})
    add("a", "b")
    job = queue.claim("w")
    queue.heartbeat(job.id, "w", {"stage": "render", "done": 1})
    assert alerts.check(chosen).active == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 29 * 60)
    queue.heartbeat(job.id, "w", {"stage": "render", "done": 2})
    assert alerts.check(chosen).active == []
    monkeypatch.setattr(time, "time", lambda: now + 45 * 60)
    assert alerts.check(chosen).active == []
    monkeypatch.setattr(time, "time", lambda: now + 60 * 60)
    assert rules(alerts.check(chosen)) == ["stalled_item"]


@pytest.mark.fault
def test_a_ledger_that_was_tampered_with_raises_an_alert(home, monkeypatch):
    import sqlite3

    from heygem.provenance import keys
    from heygem.provenance.ledger import Ledger, default_path

    chosen = settings(ledger={"enabled": True, "every_min": 10})
    assert alerts.check(chosen).active == []  # nothing was recorded yet
    ledger = Ledger(keys=keys.ensure())
    ledger.append("note", "x", {"a": 1})
    (home / "alerts.json").unlink()
    assert alerts.check(chosen).active == []
    with sqlite3.connect(default_path()) as db:
        db.execute("DROP TRIGGER never_changed")
        db.execute("UPDATE entries SET body = '{}'")
    assert alerts.check(chosen).active == []  # verified a moment ago
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 601)
    assert rules(alerts.check(chosen)) == ["ledger"]


def test_a_command_gets_the_alert_as_json_and_as_variables(home, tmp_path):
    out = tmp_path / "out.json"
    code = "import json, os, sys; c = json.load(sys.stdin); "
    code += "c['env'] = os.environ['HEYGEM_ALERT_RULE']; "
    code += f"open({str(out)!r}, 'w').write(json.dumps(c))"
    content = {"rule": "r; rm -rf", "severity": "warning", "message": "嘴", "remedy": ""}
    chosen = settings(command=(sys.executable, "-c", code))
    assert alerts.notify(content | {"state": "test"}, chosen) == []
    written = json.loads(out.read_text())
    assert written["env"] == "r; rm -rf" and written["message"] == "嘴"


@pytest.mark.slow
@pytest.mark.fault
def test_a_way_that_fails_is_reported_without_its_address(home, listener):
    address, received = listener
    content = {"rule": "r", "severity": "warning", "message": "m", "remedy": "", "state": "test"}
    for command, timeout_s, reason in (
        ((sys.executable, "-c", "raise SystemExit(3)"), 60, "exit code 3"),
        (("/no/such/program",), 60, "No such file"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), 1, "longer than 1 s"),
    ):
        (failure,) = alerts.notify(content, settings(command=command, timeout_s=timeout_s))
        assert reason in failure
    for path, reason in (("/no", "HTTP 500"), ("/away", "HTTP 302")):
        (failure,) = alerts.notify(content, settings(webhook=address + path))
        assert reason in failure and address not in failure
    assert len(received) == 2  # the redirection was not followed


def test_watching_ends_when_it_is_asked_to(home):
    results = []
    alerts.watch(settings(every_s=1), report=results.append, wait=lambda _: len(results) == 3)
    assert len(results) == 3


@pytest.mark.fault
def test_watching_goes_on_where_neither_log_nor_state_can_be_read_or_written(home, tmp_path):
    logs.log_file().parent.mkdir(parents=True)
    logs.log_file().symlink_to(logs.log_file())  # a loop: opening it is an error
    (tmp_path / "file").write_text("")
    checks = []
    low = {"enabled": True, "free_gb": 1e9}
    chosen = settings(disk_low=low, patterns=[{"name": "x", "pattern": "y"}], every_s=1)
    alerts.watch(
        chosen,
        folder=tmp_path / "file" / "x",
        report=checks.append,
        wait=lambda _: len(checks) == 3,
    )
    assert all("cannot be stored" in each.failures[-1] for each in checks)
    assert [len(each.notified) for each in checks] == [
        len(checks[0].active),
        0,
        0,
    ]  # sent once


def test_the_state_of_the_earlier_version_is_read(home, log):
    home.mkdir(exist_ok=True)
    (home / "alerts.json").write_text('{"told": {"disk_low_results": 1.0}, "memory": {}}')
    assert alerts.check(settings()).over == ["disk_low_results"]
    assert json.loads((home / "alerts.json").read_text())["notified"] == {}


def test_rules_survive_a_damaged_state_file(home):
    home.mkdir()
    (home / "alerts.json").write_text('{"told": [1], "memory"')
    assert alerts.check(settings()).active == []
    assert alert_rules.find(settings(), {}) == []
