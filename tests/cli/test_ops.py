"""The operator's commands, as they are typed."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heygem.batch.items import plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.cli.main import app
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with records, and a queue in which one item is done and one failed."""
    for name in ("HOME", "RECORDS"):
        monkeypatch.setenv(f"HEYGEM_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("HEYGEM_QUEUE", str(tmp_path / "queue.db"))
    monkeypatch.chdir(tmp_path)
    Ledger(keys=keys.ensure()).append("note", "x", {})
    queue = JobQueue()
    inputs = {"videos": ["a.mp4", "b.mp4"], "text": "Hello.", "output": str(tmp_path / "out")}
    queue.add(plan_items(Params.from_dict({"inputs": inputs})))
    for status, code in (("done", ""), ("failed", "NO_FACE")):
        job = queue.claim("w")
        made = {"manifest": {"timings": {"render_s": 2.0}}} if status == "done" else {}
        outcome = Outcome(job.name, Path(job.video), status, code=code, seconds=3.0, **made)
        queue.finish(job.id, "w", outcome)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.mp4").write_bytes(b"video")
    return tmp_path


def heygem(*words, stdin=None):
    """Exit code and everything that is printed."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    if isinstance(done.exception, HeygemError):
        return 2, str(done.exception)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.mark.slow
def test_the_report_is_printed_and_written(folder):
    code, text = heygem("report", "--day", "--out", "reports")
    assert code == 0 and "1 made, 1 failed" in text and "| NO\\_FACE | 1 |" in text
    assert "ledger | verified, 1 rows" in text
    assert len(list((folder / "reports").glob("report-*"))) == 3
    assert heygem("report", "--day", "--week")[0] == 2
    assert "0 made" in heygem("report", "--queue", "no.db")[1] and not Path("no.db").exists()


def test_alerts_are_printed_with_an_exit_code(folder):
    (folder / "alerts.yaml").write_text(
        "log: false\ndisk_low: {enabled: false}\nerror_rate: {at_least: 2, above: 0.3}\n"
    )
    code, text = heygem("alerts", "check", "--params", "alerts.yaml")
    assert code == 1 and "warning: error_rate: 1 of 2 items failed" in text
    (folder / "alerts.yaml").write_text("log: false\ndisk_low: {enabled: false}\n")
    code, text = heygem("alerts", "check", "--params", "alerts.yaml")
    assert code == 0 and "over: error_rate" in text
    (folder / "alerts.yaml").write_text("webhook: http://127.0.0.1:9\nlog: false\n")
    code, text = heygem("alerts", "test", "--params", "alerts.yaml")
    assert code == 1 and "the webhook failed" in text


@pytest.mark.slow
def test_a_backup_is_made_checked_and_restored(folder):
    Path("secret").write_text("correct horse\n")
    code, text = heygem("backup", "saved", "--passphrase-file", "secret")
    assert code == 0 and "records, queue, 1 folders of results" in text
    code, text = heygem("restore", "saved", "--check")
    assert code == 0 and "as it was saved" in text
    code, text = heygem("restore", "saved", "--passphrase-file", "secret")
    assert code == 2 and "overwrite what is there" in text
    code, text = heygem("restore", "saved", "--to", "drill", "--passphrase-file", "secret")
    assert code == 0 and text.count("restored: ") == 3
    assert (folder / "drill" / "results" / "0-out" / "a.mp4").read_bytes() == b"video"


@pytest.mark.slow
def test_retention_shows_asks_and_deletes(folder):
    old = folder / "home" / "avatars" / "old.npz"
    old.parent.mkdir(parents=True)
    old.write_bytes(bytes(10))
    os.utime(old, (1, 1))
    Path("retention.yaml").write_text("avatars: {unused_days: 1}\n")
    rules = ("--params", "retention.yaml")
    code, text = heygem("retention", *rules, "--dry-run")
    assert code == 0 and "old.npz" in text and "1 files, 10 B" in text
    assert heygem("retention", *rules, stdin="n\n")[0] == 1 and old.exists()
    assert heygem("retention", *rules, "--yes")[0] == 0 and not old.exists()
    assert heygem("retention")[1] == "0 files, 0 B\n"


@pytest.mark.slow
def test_metrics_are_shown_and_the_exporter_ends_on_sigterm(folder):
    assert 'heygem_item_failures_total{code="NO_FACE"} 1.0' in heygem("metrics", "show")[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from heygem.cli.main import main; main()"]
    command += ["metrics", "serve", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.match(r"(http://\S+)", process.stdout.readline())[1]
            with urllib.request.urlopen(address) as answer:
                assert b"heygem_up 1.0" in answer.read()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.fault
def test_health_names_what_is_wrong(folder, monkeypatch):
    code, text = heygem("health")
    assert code == 1 and "heygem models pull" in text  # this HEYGEM_HOME has no models
    from heygem.core import assets

    monkeypatch.setattr(assets, "inventory", lambda: [])
    assert heygem("health") == (0, "ok\n")
    monkeypatch.setenv("HEYGEM_RECORDS", str(folder / "out" / "a.mp4" / "records"))
    code, text = heygem("health")
    assert code == 1 and "cannot write to the folder" in text
