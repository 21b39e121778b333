"""An actor of a cluster, in this process: what it fetches, makes, uploads and asks of the head."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("fsspec")


from heygem.batch import runner  # noqa: E402
from heygem.batch.cluster import storage  # noqa: E402
from heygem.batch.cluster.actors import ActorOptions, ItemActor  # noqa: E402
from heygem.batch.cluster.records import HeadError, HeadLedger, Records, head_keys  # noqa: E402
from heygem.batch.item import guards  # noqa: E402
from heygem.batch.items import plan_items  # noqa: E402
from heygem.batch.outcome import Outcome  # noqa: E402
from heygem.batch.queue import JobQueue  # noqa: E402
from heygem.config.params import Params  # noqa: E402
from heygem.core import folders  # noqa: E402
from heygem.core.errors import ConsentError, OutputError, PolicyError  # noqa: E402
from heygem.core.files import read_json, sha256, write_json  # noqa: E402
from heygem.provenance import binding, consent, credentials, keys  # noqa: E402
from heygem.provenance.ledger import Ledger  # noqa: E402


@pytest.fixture
def head(tmp_path, monkeypatch):
    """`ask` of a head whose ledger and keys are elsewhere than this node's."""
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "node"))
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "no-records-on-nodes"))
    records = Records(str(tmp_path / "head"))

    def ask(method, *arguments, **named):
        value, error = records.answer(method, arguments, named)
        if error is not None:
            raise error
        return value

    yield ask
    assert not (tmp_path / "no-records-on-nodes").exists()


@pytest.fixture
def ledger(tmp_path):
    """The head's ledger, checked at the end."""
    found = Ledger(tmp_path / "head/ledger.db", keys=None)
    yield found
    assert found.verify() == []


@pytest.fixture
def actor(head):
    return ItemActor(head, ActorOptions(make="helpers.cluster:make_item"))


@pytest.fixture
def job_of(tmp_path):
    """Put an item into a queue; returns its job."""

    def make(kind="fine 0", output=None, video=None, **inputs):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        (folder / "a.wav").write_bytes(b"sound")
        path = folder / "anna.mp4"
        path.write_text(kind)
        recipe = {
            "videos": [video or str(path)],
            "audio": str(folder / "a.wav"),
            "output": output or str(tmp_path / "out"),
            **inputs,
        }
        params = Params.from_dict({"inputs": recipe, "mlflow": {"enabled": False}})
        make.path = tmp_path / f"queue-{os.urandom(4).hex()}.db"
        queue = JobQueue(make.path)
        queue.add(plan_items(params), owner="ann")
        return queue.claim("test")

    return make


def outcome_of(actor, job):
    return Outcome.from_message(actor.make(job))


def attempts(tmp_path):
    return sorted(path.name for path in (tmp_path / "in/journal").glob("*"))


def test_an_item_is_made_uploaded_and_recorded_by_the_head(actor, job_of, ledger, tmp_path):
    outcome = outcome_of(actor, job_of())
    assert (outcome.status, outcome.error) == ("done", "")
    assert (tmp_path / "out/anna-a.mp4").read_bytes() == b"made of anna.mp4"
    manifest = storage.Folder(str(tmp_path / "out")).read_json("details/anna-a/manifest.json")
    assert manifest["video"]["path"] == str(tmp_path / "in/anna.mp4")
    begun, made = ledger.entries()
    assert (begun.kind, begun.body["user"], begun.body["node"]["process"]) == (
        "begun",
        "ann",
        os.getpid(),
    )
    assert (made.kind, made.subject) == ("made", manifest["output"]["sha256"])
    assert list((tmp_path / "node/scratch").iterdir()) == []


@pytest.mark.parametrize("kind", ["path", "memory"])
def test_a_finished_item_is_not_made_again(actor, job_of, tmp_path, kind):
    output = {"path": None, "memory": f"memory://{os.urandom(4).hex()}"}[kind]
    assert outcome_of(actor, job_of(output=output)).status == "done"
    again = outcome_of(actor, job_of(output=output))
    assert again.status == "skipped"
    assert attempts(tmp_path) == ["anna-a.0"]
    assert outcome_of(actor, job_of("fine 0.0", output=output)).status == "done"  # other content
    assert attempts(tmp_path) == ["anna-a.0", "anna-a.1"]


def test_inputs_come_from_a_store(actor, job_of, tmp_path):
    folder = f"memory://{os.urandom(4).hex()}"
    (tmp_path / "v").write_text("fine 0")
    storage.Folder(folder).put(tmp_path / "v", "bea.mp4")
    outcome = outcome_of(actor, job_of(video=f"{folder}/bea.mp4", output=f"{folder}/out"))
    assert (outcome.status, outcome.error) == ("done", "")
    results = storage.Folder(f"{folder}/out")
    manifest = results.read_json("details/bea-a/manifest.json")
    assert manifest["video"]["path"] == f"{folder}/bea.mp4"
    assert manifest["stored"]["location"] == f"{folder}/out/bea-a.mp4"
    assert results.sha256("bea-a.mp4") == manifest["output"]["sha256"]


def test_a_users_file_is_not_replaced(actor, job_of, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/anna-a.mp4").write_bytes(b"my own")
    outcome = outcome_of(actor, job_of())
    assert (outcome.status, outcome.code) == ("failed", "OUTPUT")
    assert (tmp_path / "out/anna-a.mp4").read_bytes() == b"my own"
    assert not (tmp_path / "in/journal").exists()  # refused before any work
    assert outcome_of(actor, job_of(overwrite=True)).status == "done"


@pytest.mark.fault
@pytest.mark.slow
def test_a_node_that_dies_between_video_and_manifest(actor, job_of, tmp_path, monkeypatch):
    """The ledger knows the video, so the next attempt replaces it."""
    put = storage.Folder.put

    def die_before_last_manifest(self, source, name, **more):
        if name.endswith("manifest.json") and self.exists("anna-a.mp4"):
            raise KeyboardInterrupt
        put(self, source, name, **more)

    monkeypatch.setattr(storage.Folder, "put", die_before_last_manifest)
    with pytest.raises(KeyboardInterrupt):
        actor.make(job_of())
    monkeypatch.setattr(storage.Folder, "put", put)
    assert (tmp_path / "out/anna-a.mp4").is_file()
    outcome = outcome_of(actor, job_of())
    assert (outcome.status, outcome.error) == ("done", "")
    assert attempts(tmp_path) == ["anna-a.0", "anna-a.1"]


def test_a_bad_input_and_a_lost_store_are_told_apart(actor, job_of, monkeypatch):
    outcome = outcome_of(actor, job_of("bad 0"))
    assert (outcome.code, outcome.bad_input) == ("BAD_INPUT", True)
    assert outcome.reason["seen"] == "anna.mp4"

    def lost(*_arguments, **_named):
        raise ConnectionResetError("reset")

    monkeypatch.setattr(storage, "FIRST_WAIT_S", 0.0)
    folder = f"memory://{os.urandom(4).hex()}"
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.info", lost)
    outcome = outcome_of(actor, job_of(video=f"{folder}/bea.mp4"))
    assert (outcome.code, outcome.bad_input) == ("STORAGE", False)


@pytest.mark.fault
def test_a_full_disk_of_the_results_is_met_before_work_and_told_from_the_nodes_own(
    actor, job_of, tmp_path, monkeypatch
):
    job = job_of()
    with monkeypatch.context() as patch:
        patch.setattr(guards, "need_of", lambda _work: SimpleNamespace(output_bytes=1 << 60))
        outcome = outcome_of(actor, job)
    assert outcome.code == "DISK_FULL" and "more are needed" in outcome.error
    assert not (tmp_path / "in/journal").exists() and "node" not in outcome.reason
    own = outcome_of(actor, job_of("full"))
    assert own.code == "DISK_FULL" and own.reason["node"]


@pytest.mark.fault
def test_a_full_disk_pauses_the_queue_of_a_cluster_until_there_is_room(job_of, monkeypatch):
    driver_module = pytest.importorskip("heygem.batch.cluster.driver")
    monkeypatch.setattr(driver_module, "Fleet", lambda *_, **__: None)
    job = job_of()
    monkeypatch.setattr(driver_module.guards, "has_room", lambda job: has_room)
    queue = JobQueue(job_of.path)
    driver = driver_module.Driver(queue)
    driver._name = "test"
    full = Outcome(job.name, Path(job.video), "failed", code="DISK_FULL", error="full")
    driver._finish(job, replace(full, reason={"what": "full", "node": "b"}))
    assert queue.paused() == "" and queue.get(job.id).state == "pending"
    queue.change(lambda db: db.execute("UPDATE jobs SET not_before = 0"))
    driver._finish(queue.claim("test"), full)
    has_room = False
    driver._room.look()
    assert queue.paused() == "DISK_FULL"
    has_room, driver._room._checked_s = True, 0.0
    driver._room.look()
    assert queue.paused() == ""


@pytest.mark.fault
@pytest.mark.parametrize(
    ("crash", "attempts", "losses", "code"),
    [("Fatal Python error: Aborted", 1, 0, "CRASHED"), ("", 0, 1, "KILLED")],
)
def test_an_actor_that_died_leaves_no_mark_and_is_told_from_one_that_was_killed(
    job_of, monkeypatch, tmp_path, crash, attempts, losses, code
):
    driver_module = pytest.importorskip("heygem.batch.cluster.driver")
    from heygem.batch.cluster.fleet import Member
    from heygem.batch.cluster.post_mortem import Evidence

    class OneMember:
        alive = {"n"}

        def remove(self, member, reason):
            assert "died" in reason

    monkeypatch.setattr(driver_module, "Fleet", lambda *_, **__: OneMember())
    asked = []
    monkeypatch.setattr(
        driver_module.post_mortem,
        "examine",
        lambda node, trace: asked.append((node, trace)) or Evidence(crash, 0),
    )
    job = job_of(output=f"memory://{os.urandom(4).hex()}")
    results = storage.Folder(job.params["inputs"]["output"])
    write_json(tmp_path, {"schema": 1, "id": "x", "status": "begun"}, name="mark.json")
    results.put(tmp_path / "mark.json", "details/anna-a/manifest.json")
    driver = driver_module.Driver(JobQueue(job_of.path))
    driver._name = "test"
    member = Member(SimpleNamespace(node="n", name="n-0"), None, None, job=job, trace="t")
    driver._lose(member, f"The actor died because {driver_module._PROCESS_DIED}.")
    job = driver.queue.get(job.id)
    assert (job.state, job.attempts, job.losses) == ("pending", attempts, losses)
    assert job.error["code"] == code and crash in job.error["what"] and asked == [("n", "t")]
    assert not results.exists("details/anna-a/manifest.json")


def test_an_item_is_cancelled_and_leaves_nothing(actor, job_of, ledger, tmp_path):
    job = job_of("fine 60")

    def stop_when_begun():
        while actor.status()["progress"].get("stage") != "render":
            threading.Event().wait(0.02)
        actor.cancel("another job")
        assert actor.status()["job"] == job.id
        actor.cancel(job.id)

    thread = threading.Thread(target=stop_when_begun)
    thread.start()
    outcome = outcome_of(actor, job)
    thread.join()
    assert outcome.status == "cancelled"
    assert not list((tmp_path / "out").rglob("*.*"))
    assert actor.status()["job"] == ""


@pytest.mark.fault
def test_a_head_that_is_gone_is_no_fault_of_the_item(head, job_of, monkeypatch):
    is_gone = threading.Event()

    def ask(method, *arguments, **named):
        if is_gone.is_set():
            raise HeadError("the head does not answer")
        return head(method, *arguments, **named)

    actor = ItemActor(ask, ActorOptions(make="helpers.cluster:make_item"))
    is_gone.set()
    outcome = outcome_of(actor, job_of())
    assert (outcome.code, outcome.bad_input) == ("HEAD", False)


def test_nodes_get_no_private_key_and_cannot_sign_or_append_anything_else(head, tmp_path):
    facts = head("facts")
    keys = head_keys(head, facts)
    ring = (tmp_path / "head/keys").rglob("*")
    secrets = [line for path in ring if path.is_file() for line in path.read_text().splitlines()]
    private = [line for line in secrets if "PRIVATE" in line]
    assert private
    assert not any(line in repr(facts) for line in private)
    message = binding.DOMAIN + b"text"
    assert keys.verify(message, keys.sign(message)) is True
    with pytest.raises(PolicyError):
        keys.sign(bytes(32))  # the hash of a row of the ledger
    with pytest.raises(PolicyError):
        head("sign_c2pa", b"anything")
    with pytest.raises(PolicyError):
        head("append", "unblocked", "0" * 64, {})
    with pytest.raises(PolicyError):
        head("__init__")
    with pytest.raises(OutputError, match="on the head"):
        HeadLedger(head, facts).verify()


def test_consent_is_the_heads(head, tmp_path):
    (tmp_path / "head/settings.yaml").write_text(
        "consent:\n  allowed: [recorded]\n  default: recorded\n"
    )
    ledger = HeadLedger(head, head("facts"))
    with pytest.raises(ConsentError, match="no consent is recorded"):
        consent.require(ledger, "a" * 64, "b" * 64, basis=None)
    with pytest.raises(ConsentError, match="does not accept"):
        consent.require(ledger, "a" * 64, "b" * 64, basis="own")
    assert [row.kind for row in ledger.entries()] == ["refused", "refused"]
    consent.record(
        ledger, "a" * 64, who="Ann", purpose="test", until="2999-01-01", reference="letter 1"
    )
    assert consent.require(ledger, "a" * 64, "b" * 64, basis=None)["reference"] == "letter 1"


@pytest.mark.slow
def test_a_real_item_is_labelled_with_keys_that_stay_on_the_head(
    models_of_node, head, tmp_path, monkeypatch
):
    """Inputs and results are in a store; the node has no keys and no ledger."""
    samples = Path(__file__).parents[2] / "samples"
    share = tmp_path / "share"
    share.mkdir()
    (share / "collins.mp4").write_bytes((samples / "collins.mp4").read_bytes())
    inputs = {
        "videos": [f"file://{share}/collins.mp4"],
        "text": "Good morning.",
        "output": f"file://{share}/out",
    }
    media = {"crf": 30, "preset": "ultrafast"}
    queue = JobQueue(tmp_path / "queue.db")
    queue.add(plan_items(Params.from_dict({"inputs": inputs, "media": media})), owner="ann")
    job = queue.claim("test")
    assert job.output == f"file://{share}/out/collins-speech.mp4"
    actor = ItemActor(head, ActorOptions())
    outcome = outcome_of(actor, job)
    assert (outcome.status, outcome.error) == ("done", "")
    out = share / "out/collins-speech.mp4"
    manifest = read_json(share / "out/details/collins-speech")
    assert manifest["output"]["sha256"] == sha256(out)
    assert manifest["video"]["path"] == inputs["videos"][0]
    assert manifest["params"]["inputs"]["output"] == inputs["output"]
    assert manifest["params"]["mlflow"]["enabled"] is True  # as the recipe says
    assert manifest["label"]["layers"]["c2pa"] == "written"
    assert (share / "out/details/collins-speech/contact_sheet.png").is_file()
    own_keys = keys.load(tmp_path / "head/keys")
    ledger = Ledger(tmp_path / "head/ledger.db", keys=own_keys)
    (made,) = ledger.entries(kind="made", subject=sha256(out))
    assert (made.body["user"], ledger.verify()) == ("ann", [])
    assert credentials.read(out, own_keys).state == "Trusted"
    assert outcome_of(actor, job).status == "skipped"
    assert len(ledger.entries(kind="made", subject=sha256(out))) == 1
    # Results that are copied out of the store are found there when the batch is made again.
    copied = tmp_path / "copied"
    shutil.copytree(share / "out", copied)
    before = {path: (path.stat().st_mtime_ns, sha256(path)) for path in files_below(copied)}
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "head"))
    inputs |= {"videos": [str(share / "collins.mp4")], "output": str(copied)}
    report = runner.run(Params.from_dict({"inputs": inputs, "media": media}))
    assert [outcome.status for outcome in report.outcomes] == ["skipped"]
    assert {path: (path.stat().st_mtime_ns, sha256(path)) for path in before} == before


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def models_of_node(tmp_path):
    """The installation's models, as on every node; before `head` sets the node's folders."""
    installed = folders.model_folder()
    (tmp_path / "node").mkdir()
    (tmp_path / "node/models").symlink_to(installed)


CRASHING = """
import os, sys
from pathlib import Path
from heygem.batch.cluster import post_mortem
print(post_mortem.record_crashes(Path(sys.argv[1])), flush=True)
os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.fault
@pytest.mark.slow
def test_a_crash_leaves_a_trace_on_its_node_and_a_kill_none(tmp_path):
    pytest.importorskip("ray")
    from heygem.batch.cluster import driver, post_mortem

    codes = {}
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL):
        command = [sys.executable, "-c", CRASHING, str(tmp_path / "crashes"), str(int(number))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == -number
        trace = done.stdout.strip()
        evidence = post_mortem.Evidence(*post_mortem._look(trace))
        member = SimpleNamespace(oom_kills=evidence.oom_kills)
        codes[number.name] = driver._cause(member, driver._PROCESS_DIED, evidence)
        assert not Path(trace).exists()
        member.oom_kills -= 1  # the kernel has ended a process since
        assert driver._cause(member, driver._PROCESS_DIED, evidence)[0] == "OUT_OF_MEMORY"
    assert codes["SIGSEGV"] == ("CRASHED", "crashed: Fatal Python error: Segmentation fault")
    assert codes["SIGABRT"] == ("CRASHED", "crashed: Fatal Python error: Aborted")
    assert codes["SIGKILL"] == ("KILLED", "was killed by somebody")
    silent = driver._cause(member, "it has not answered for 60 s", None)
    assert silent == ("CRASHED", "died: it has not answered for 60 s")
