"""Retention: what the settings choose, what stays all the same, and what the ledger records."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heygem.core import logs
from heygem.core.errors import ParameterError
from heygem.core.files import sha256
from heygem.core.folders import avatar_folder
from heygem.ops import retention
from heygem.ops.retention import RetentionSettings
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger, default_path

DAY = 86400.0
OLD = {"results": {"older_than_days": 30}}


@pytest.fixture
def ledger(home):
    return Ledger(keys=keys.ensure())


@pytest.fixture
def result(tmp_path, ledger):
    """Make a finished result, as the manifest and the ledger have it; returns the video."""

    def make(name, recorded=True, video="cd" * 32):
        folder = tmp_path / "out"
        details = folder / "details" / name
        details.mkdir(parents=True)
        source, video = video, folder / f"{name}.mp4"
        video.write_bytes(os.urandom(1000))
        content = {
            "video": {"path": "/x.mp4", "sha256": source},
            "schema": 1, "id": name, "status": "done", "name": name,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "output": {"file": f"../../{name}.mp4", "sha256": sha256(video), "duration_s": 1.0},
        }  # fmt: skip
        (details / "manifest.json").write_text(json.dumps(content))
        (details / "log.jsonl").write_text("{}\n")
        if recorded:
            ledger.append("made", sha256(video), {"title": name})
        return video

    return make


def plan(tree, tmp_path, days=31.0):
    """The plan of so many days later."""
    settings = RetentionSettings.model_validate(tree)
    return retention.plan(settings, [tmp_path / "out"], now=time.time() + days * DAY)


def names(chosen):
    return [deletion.path.name for deletion in chosen.deletions]


def test_without_settings_nothing_is_ever_deleted(result, tmp_path):
    result("anna")
    assert plan({}, tmp_path, days=10_000).deletions == []
    assert retention.read(None) == RetentionSettings()


def test_the_example_can_be_read_and_a_mistake_is_named(tmp_path):
    path = Path(__file__).parents[2] / "params" / "operations" / "retention.yaml"
    assert retention.read(path).results.older_than_days == 90
    (tmp_path / "r.yaml").write_text("ledger: {older_than_days: 3}")
    with pytest.raises(ParameterError, match="unknown key 'ledger'"):
        retention.read(tmp_path / "r.yaml")


def test_an_old_result_is_deleted_and_the_ledger_says_so(result, tmp_path, ledger):
    video = result("anna")
    digest = sha256(video)
    assert plan(OLD, tmp_path, days=29).deletions == []
    chosen = plan(OLD, tmp_path)
    assert names(chosen) == ["anna.mp4"] and video.exists()  # a plan changes nothing
    assert retention.apply(chosen, who="Ada") == (chosen.deletions, [])
    assert not video.exists() and (tmp_path / "out/details/anna/manifest.json").exists()
    (row,) = ledger.entries(kind="deleted", subject=digest)
    assert row.body["made"] == ledger.entries(kind="made", subject=digest)[0].number
    assert (row.body["reason"], row.body["who"]) == ("older than 30 days", "Ada")
    assert ledger.verify() == []
    assert plan(OLD, tmp_path).deletions == []


def test_details_go_too_where_the_settings_say_so(result, tmp_path):
    result("anna")
    tree = {"results": {"older_than_days": 30, "keep_details": False}}
    retention.apply(plan(tree, tmp_path))
    assert not (tmp_path / "out/details/anna").exists()


def test_what_is_not_proven_or_in_dispute_stays(result, tmp_path, ledger, add):
    result("fine")
    edited = result("edited")
    edited.write_bytes(b"cut by the user")
    result("unrecorded", recorded=False)
    consent.block(ledger, sha256(result("blocked")), reason="a complaint")
    result("person", video="ab" * 32)
    consent.block(ledger, "ab" * 32, reason="the person objects")
    linked = result("linked")
    linked.rename(tmp_path / "elsewhere.mp4")
    linked.symlink_to(tmp_path / "elsewhere.mp4")
    (tmp_path / "out" / "holiday.mp4").write_bytes(b"mine")
    (job,) = add("again")
    again = result(job.name)
    assert str(again) == job.output
    chosen = plan(OLD, tmp_path)
    assert names(chosen) == ["fine.mp4"]
    reasons = " ".join(chosen.retained)
    for text in ("changed since", "ledger does not have it", "evidence", "to be made again"):
        assert text in reasons
    assert len(chosen.retained) == 6


@pytest.mark.fault
def test_a_manifest_cannot_name_a_file_elsewhere_nor_a_false_time(result, tmp_path):
    video = result("anna")
    path = tmp_path / "out/details/anna/manifest.json"
    content = json.loads(path.read_text())
    content["finished"] = "2001-01-01T00:00:00+00:00"
    path.write_text(json.dumps(content))
    assert plan(OLD, tmp_path, days=1).deletions == []  # the signed row says otherwise
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(video.read_bytes())
    content["output"]["file"] = "../../../secret.mp4"
    path.write_text(json.dumps(content))
    assert plan(OLD, tmp_path).deletions == [] and secret.exists()


@pytest.mark.fault
def test_a_result_that_changed_after_the_plan_stays(result, tmp_path, ledger):
    video = result("anna")
    chosen = plan(OLD, tmp_path)
    video.write_bytes(b"edited just now")
    deleted, (problem,) = retention.apply(chosen)
    assert deleted == [] and "changed meanwhile" in problem and video.exists()
    assert ledger.entries(kind="deleted") == []


@pytest.mark.fault
def test_without_the_keys_nothing_is_deleted(result, tmp_path):
    video = result("anna")
    chosen = plan(OLD, tmp_path)
    keys.folder().rename(tmp_path / "lost")
    deleted, (problem,) = retention.apply(chosen)
    assert deleted == [] and "cannot be recorded" in problem and video.exists()


def test_a_deleted_result_leaves_the_queue(result, tmp_path, queue, add, work_off):
    (job,) = add("anna")
    work_off(2.0)
    assert queue.counts()["done"] == 1
    video = result(job.name)
    assert str(video) == job.output
    retention.apply(plan(OLD, tmp_path))
    assert not video.exists() and queue.jobs() == []


def test_unused_avatars_go_by_age_and_the_longest_unused_by_size(home, tmp_path):
    avatar_folder().mkdir(parents=True)
    for number, days in enumerate((40, 20, 10, 1)):
        path = avatar_folder() / f"{number}.npz"
        path.write_bytes(bytes(1000))
        os.utime(path, (time.time() - days * DAY,) * 2)
    (avatar_folder() / "notes.txt").write_text("mine")
    tree = {"avatars": {"unused_days": 30, "max_gb": 2e-6}}
    chosen = plan(tree, tmp_path, days=0)
    assert names(chosen) == ["0.npz", "1.npz"]
    retention.apply(chosen)
    assert sorted(p.name for p in avatar_folder().iterdir()) == ["2.npz", "3.npz", "notes.txt"]


def test_old_rotated_logs_go_but_never_the_log_itself_nor_the_ledger(home, ledger, tmp_path):
    logs.log_file().parent.mkdir(parents=True, exist_ok=True)
    for name in ("heygem.log", "heygem.log.2026-01-01"):
        path = logs.log_file().with_name(name)
        path.write_text("{}\n")
        os.utime(path, (1, 1))
    tree = {"logs": {"older_than_days": 5}, "results": {"older_than_days": 1}}
    chosen = plan(tree, tmp_path)
    assert names(chosen) == ["heygem.log.2026-01-01"]
    retention.apply(chosen)
    assert logs.log_file().exists() and default_path().exists()
