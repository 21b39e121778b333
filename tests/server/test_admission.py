"""Admission to a queue of several users: before a job is written, and when a worker takes it."""

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from helpers.hub import write_policy

from heygem.batch import notebooks
from heygem.core.errors import ConsentError, InputError, OutputError, ParameterError, PolicyError
from heygem.core.files import sha256
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger
from heygem.server import admission, requests
from heygem.server.inputs import InputStore
from heygem.server.policy import Rules
from heygem.server.served_queue import ServedQueue

SAMPLES = notebooks.root() / "samples"


class Installation:
    """A served queue, its inputs, and users who have agreed."""

    def __init__(self, folder, users=("anna", "bert"), **rules):
        self.rules = Rules(write_policy(folder / "rules", **rules))
        self.queue = ServedQueue(folder / "state", self.rules)
        self.inputs = InputStore(folder / "state/inputs", upload_mb=20, stored_mb=50)
        for user in users:
            self.rules.agree(self.ledger, user)

    @property
    def ledger(self):
        return Ledger(keys=keys.ensure())

    def send(self, owner, path):
        """A file as the service receives it; returns its name."""
        data = path.read_bytes()
        name = f"{sha256(path)}{path.suffix}"
        with contextlib.suppress(InputError):
            self.inputs.path(owner, name)
            return name
        upload = self.inputs.receive(owner, name, len(data))
        upload.write(data)
        upload.finish()
        return name

    def items(self, owner, *names, **settings):
        video = self.send(owner, SAMPLES / "hopper.mp4")
        audio = self.send(owner, SAMPLES / "speech_en.wav")
        rows = [{"video": video, "audio": audio, "name": n, "settings": settings} for n in names]
        results = self.queue.results
        return requests.read_items({"items": rows}, owner, self.rules, self.inputs, results)

    def add(self, owner, *names, **settings):
        return self.queue.add(self.items(owner, *names, **settings), owner=owner)

    def change(self, statement, *values):
        """Change the database by hand."""
        with contextlib.closing(sqlite3.connect(self.queue.path)) as db:
            db.execute(statement, values)
            db.commit()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    return tmp_path


@pytest.fixture
def served(home):
    return Installation(home)


@pytest.mark.slow
def test_what_the_rules_allow_is_queued_under_its_owner(served):
    (job,) = served.add("anna", "hello", **{"lips.openness_gain": 1.2})
    assert (job.owner, job.state, job.name) == ("anna", "pending", "hello")
    assert job.output == str(served.queue.results / "anna/hello.mp4")
    taken = served.queue.claim("w1")
    assert taken.id == job.id and taken.params["lips"]["openness_gain"] == 1.2


def test_nobody_is_served_before_the_agreement(home):
    served = Installation(home, users=())
    with pytest.raises(PolicyError, match="agreement"):
        served.add("anna", "hello")
    assert served.queue.jobs() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inputs.voice", "os:system"),
        ("label.watermark", False),
        ("label.font", "/etc/passwd"),
        ("lips.model", "/etc/passwd"),
        ("device", "cuda"),
        ("inputs.overwrite", True),
        ("inputs.output", "/tmp"),
    ],
)
def test_the_owners_settings_are_the_owners(served, key, value):
    with pytest.raises(PolicyError, match="only the owner"):
        served.add("anna", "hello", **{key: value})
    # Nor does an item reach the queue that was made without the service's own check.
    (item,) = served.items("anna", "hello")
    item = item.__class__(**{**vars(item), "params": item.params.override({key: value})})
    with pytest.raises(PolicyError):
        served.queue.add([item], owner="anna")
    assert served.queue.jobs() == []


@pytest.mark.slow
def test_a_quota_counts_videos_and_minutes_of_each_user_and_refusals_are_recorded(home):
    served = Installation(home, quota={"videos_per_day": 2, "minutes_per_day": 0.3})
    served.add("anna", "one")
    with pytest.raises(PolicyError, match="quota of 2 videos.*1 used.*2 asked"):
        served.add("anna", "two", "three")
    served.add("anna", "two")  # 7.7 s each
    served.add("bert", "one")  # each user has their own
    with pytest.raises(PolicyError, match="quota"):
        served.add("anna", "three")
    with pytest.raises(PolicyError, match="minutes"):
        served.queue.add(_spoken(served, "bert", "Hello. " * 30), owner="bert")
    assert [job.name for job in served.queue.jobs()] == ["one", "two", "one"]
    assert len(served.ledger.entries(kind="refused")) == 3 and served.ledger.verify() == []


def _spoken(served, owner, text):
    video = served.send(owner, SAMPLES / "hopper.mp4")
    rows = [{"video": video, "text": text, "name": "spoken"}]
    results = served.queue.results
    return requests.read_items({"items": rows}, owner, served.rules, served.inputs, results)


def test_chinese_text_is_not_counted_as_if_it_were_letters():
    assert admission.speech_seconds("人工智能" * 10) == 10
    assert admission.speech_seconds("artificial intelligence, spoken") < 3


@pytest.mark.slow
def test_too_long_and_too_large_are_refused_before_the_queue(home):
    served = Installation(home, limits={"sound_minutes": 0.1})
    with pytest.raises(PolicyError, match="sound is too long"):
        served.add("anna", "hello")
    with pytest.raises(PolicyError, match="speech is too long"):
        served.queue.add(_spoken(served, "anna", "Hello. " * 30), owner="anna")


@pytest.mark.slow
def test_blocked_content_and_missing_consent_are_refused_before_the_queue(home):
    (home / "rules").mkdir()
    (home / "rules/recipe.yaml").write_text("label: {consent: recorded}\n")
    served = Installation(home, recipe="recipe.yaml")
    with pytest.raises(ConsentError, match="no consent"):
        served.add("anna", "hello")
    video = sha256(SAMPLES / "hopper.mp4")
    consent.record(served.ledger, video, who="x", purpose="test", until="2099-01-01", reference="r")
    served.add("anna", "hello")
    consent.block(served.ledger, sha256(SAMPLES / "speech_en.wav"), reason="complaint")
    with pytest.raises(ConsentError, match="sound is blocked"):
        served.add("anna", "again")
    assert served.ledger.entries(kind="refused")[-1].body["user"] == "anna"


@pytest.mark.slow
def test_users_take_turns(served):
    served.add("anna", "a1", "a2", "a3")
    served.add("bert", "b1")
    order = [served.queue.claim(f"w{k}").name for k in range(4)]
    assert order == ["a1", "b1", "a2", "a3"]


# --- around the service ---


@pytest.mark.slow
@pytest.mark.fault
def test_a_job_written_by_hand_is_not_made(served):
    (mine,) = served.add("anna", "hello")
    (job,) = served.add("bert", "hers")
    columns = "batch, priority, created, state, name, title, video, audio, text, folder, length_s"
    served.change(
        f"INSERT INTO jobs (id, position, owner, output, {columns}) "
        f"SELECT 'forged', 0, 'bert', replace(output, 'anna', 'bert'), {columns} FROM jobs "
        "WHERE id = ?",
        mine.id,
    )
    served.change(
        "INSERT INTO recipes SELECT (SELECT number FROM jobs WHERE id = 'forged'), params "
        "FROM recipes JOIN jobs USING (number) WHERE id = ?",
        job.id,
    )
    assert {served.queue.claim(f"w{k}").id for k in range(2)} == {mine.id, job.id}
    assert served.queue.claim("w3") is None
    forged = served.queue.get("forged")
    assert (forged.state, forged.error["code"]) == ("failed", "POLICY")
    assert "not admitted" in forged.error["what"]


@pytest.mark.fault
@pytest.mark.parametrize("change", ["owner", "label", "output", "name", "text"])
def test_a_job_changed_by_hand_is_not_made(served, change):
    (job,) = served.add("anna", "hello")
    params = served.queue.get(job.id).params
    if change == "label":
        params["label"]["watermark"] = False
    elif change == "text":
        params["inputs"] |= {"audio": None, "text": "something else"}
    elif change == "output":
        served.change("UPDATE jobs SET output = '/tmp/x.mp4'")
    else:
        served.change(f"UPDATE jobs SET {change} = 'bert'")
    served.change("UPDATE recipes SET params = ?", json.dumps(params))
    assert served.queue.claim("w1") is None
    assert served.queue.get(job.id).error["code"] == "POLICY"


@pytest.mark.fault
def test_an_input_that_was_exchanged_is_not_used(served):
    (job,) = served.add("anna", "hello")
    shutil.copyfile(SAMPLES / "collins.mp4", job.video)
    assert served.queue.claim("w1") is None
    assert "changed since" in served.queue.get(job.id).error["what"]


@pytest.mark.fault
def test_a_row_of_admission_without_the_key_admits_nothing(served, home):
    (item,) = served.items("anna", "hello")
    digest = admission.digest("anna", item, sha256(item.video), sha256(item.params.inputs.audio))
    unsigned = Ledger(home / "other.db")
    unsigned.append("admitted", "anna", {"items": [digest]})
    with contextlib.closing(sqlite3.connect(served.ledger.path)) as db:
        db.execute("ATTACH ? AS other", (str(unsigned.path),))
        number = db.execute("SELECT max(number) FROM main.entries").fetchone()[0]
        columns = "time_utc, kind, subject, mark_id, body, previous, hash, signature"
        db.execute(f"INSERT INTO main.entries SELECT {number + 1}, {columns} FROM other.entries")
        db.commit()
    with pytest.raises(PolicyError, match="not admitted"):
        admission.Admission(served.rules, results=served.queue.results).require_admitted(
            "anna", item
        )


@pytest.mark.slow
def test_limits_that_were_lowered_hold_for_waiting_jobs_too(served, home):
    (job,) = served.add("anna", "hello")
    lower = Rules(write_policy(home / "rules", limits={"video_minutes": 0.01}))
    queue = ServedQueue(home / "state", lower)
    assert queue.claim("w1") is None
    assert "too long" in queue.get(job.id).error["what"]


@pytest.mark.slow
def test_the_folder_of_the_queue_is_closed_to_other_accounts(home):
    served = Installation(home)
    assert (home / "state").stat().st_mode & 0o077 == 0
    served.add("anna", "hello")
    assert served.queue.path.stat().st_mode & 0o077 == 0
    (home / "state").chmod(0o755)
    with pytest.raises(OutputError, match="alone.*mode 755"):
        ServedQueue(home / "state", served.rules)


# --- requests ---


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": [{"video": "x.mp4", "name": "n", "owner": "bert"}]}, "owner"),
        ({"items": [{"video": "../../etc/passwd", "name": "n", "text": "x"}]}, "not sent"),
        ({"items": [{"video": "0" * 64 + ".mp4", "name": "n", "text": "x"}]}, "not sent"),
    ],
)
def test_a_request_that_is_none_is_refused(served, request_, message):
    with pytest.raises(InputError, match=message):
        requests.read_items(request_, "anna", served.rules, served.inputs, served.queue.results)


def test_a_user_cannot_name_the_file_of_another(served):
    name = served.send("bert", SAMPLES / "hopper.mp4")
    with pytest.raises(InputError, match="not sent"):
        served.inputs.path("anna", name)


def test_a_name_leads_nowhere_else(served):
    (item,) = served.items("anna", "../../../../tmp/x")
    assert item.output.is_relative_to(served.queue.results / "anna")


def test_a_setting_out_of_range_is_named(served):
    with pytest.raises(ParameterError, match="openness_gain"):
        served.add("anna", "hello", **{"lips.openness_gain": -5})


def test_the_commands_of_the_services_account_use_its_queue(served, home, monkeypatch):
    from heygem.cli.queue import open_queue

    monkeypatch.setenv("HEYGEM_STATE", str(home / "state"))
    with pytest.raises(ParameterError, match="HEYGEM_POLICY is not set"):
        open_queue(None)
    monkeypatch.setenv("HEYGEM_POLICY", str(served.rules.path))
    monkeypatch.chdir(home)
    queue = open_queue(None)
    assert Path.cwd() == home / "state"  # relative paths of the recipe start there
    assert isinstance(queue, ServedQueue) and queue.path == served.queue.path
