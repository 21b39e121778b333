"""A real cluster of several nodes on this machine: nodes and actors die, and no item is lost."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

ray = pytest.importorskip("ray")
pytest.importorskip("fsspec")

from heygem.batch.cluster.actors import ActorOptions  # noqa: E402
from heygem.batch.cluster.nodes import ClusterError, connected, plan_slots  # noqa: E402
from heygem.batch.items import plan_items  # noqa: E402
from heygem.batch.queue import JobQueue, retry  # noqa: E402
from heygem.config.params import Params  # noqa: E402
from heygem.core import folders  # noqa: E402
from heygem.core.errors import ParameterError  # noqa: E402
from heygem.core.files import read_json, sha256  # noqa: E402
from heygem.provenance import keys  # noqa: E402
from heygem.provenance.ledger import Ledger  # noqa: E402

KILLS = int(os.environ.get("HEYGEM_KILLS", "5"))
QUICK = ActorOptions(make="helpers.cluster:make_item")
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False}


def node(alive=True, name="a", **resources):
    return {
        "Alive": alive,
        "NodeID": name,
        "NodeManagerAddress": f"host-{name}",
        "Resources": resources,
    }


def test_nodes_get_as_many_actors_as_they_have_room_for():
    nodes = [
        node(name="gpus", CPU=16.0, GPU=2.0),
        node(name="cores", CPU=11.0),
        node(name="small", CPU=2.0),
        node(name="said", CPU=2.0, heygem=3.0),
        node(name="shared", CPU=4.0, GPU=1.0, heygem=2.0),
        node(alive=False, name="dead", CPU=64.0),
        node(name="head", CPU=0.0),
    ]
    slots = plan_slots(nodes, cores=4)
    assert Counter(slot.node for slot in slots) == {"gpus": 2, "cores": 2, "said": 3, "shared": 2}
    by_node = {slot.node: slot for slot in slots}
    assert (by_node["gpus"].cpus, by_node["gpus"].gpus) == (8, 1.0)
    assert (by_node["cores"].cpus, by_node["cores"].gpus) == (4, 0.0)
    assert (by_node["shared"].gpus, by_node["shared"].is_counted) == (0.5, True)
    assert len({slot.name for slot in slots}) == len(slots)


def test_the_address_of_a_cluster_is_explicit(monkeypatch):
    with pytest.raises(ParameterError, match="number of actors"), connected("host:1", actors=2):
        pass
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:1")  # does not change where items go
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    calls = []
    with connected(actors=2):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert calls[0]["address"] == "local"
    assert calls[0]["include_dashboard"] is False
    assert calls[0]["resources"] == {"heygem": 2}


def test_a_cluster_that_cannot_be_reached_is_one_clear_error(monkeypatch):
    def refuse(**_options):
        raise ConnectionError("ray.init(): failed to connect")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ClusterError, match="cannot be reached") as caught, connected("host:6379"):
        pass
    assert "host:6379" in str(caught.value)


def test_a_machine_that_is_too_busy_for_ray_is_tried_again_then_named(monkeypatch):
    def refuse(**_options):
        calls.append("init")
        raise Exception("The current node timed out during startup.")  # as Ray does

    calls = []
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    with pytest.raises(ClusterError, match="does not start.*timed out.*less busy"), connected():
        pass
    assert calls == ["init", "shutdown"] * 3


def test_a_missing_token_is_what_the_remedy_is_about(monkeypatch):
    def refuse(**_options):
        raise RuntimeError("InvalidAuthToken: Authentication token is missing or incorrect")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE=token"), connected("host:6379"):
        pass


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Folder of the head's ledger and keys; node caches are beside it."""
    home, models = tmp_path_factory.mktemp("cluster"), folders.model_folder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEYGEM_RECORDS", str(home / "records"))
        patch.setenv("HEYGEM_HOME", str(home / "home"))
        (home / "home").mkdir()
        (home / "home/models").symlink_to(models)  # as installed on every node
        tests = Path(__file__).parents[1]
        patch.setenv("PYTHONPATH", f"{tests.parent}{os.pathsep}{tests}")  # of processes on nodes
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_health_check_period_ms", "1000")
        yield home / "records"


@pytest.fixture(scope="module")
def patience():
    """Ray allows a node half a minute to start, which a busy machine may exceed: thrice that."""
    import ray._private.node as ray_node

    slow = {name: getattr(time, name) for name in dir(time) if name[0] != "_"}
    slow["monotonic"] = lambda: time.monotonic() / 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_node, "time", SimpleNamespace(**slow))
        yield


def started_node(cluster, **options):
    """A node that has started. A raylet whose agent is not up after 15 s ends: then another try."""
    for remaining in reversed(range(3)):
        try:
            return cluster.add_node(**NODE, **{"wait": False, **options})
        except Exception:  # Ray has no class for it
            if not remaining:
                raise


@pytest.fixture(scope="module")
def cluster(records, patience):
    """The head, which holds one actor, and nothing else yet."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    head = {"include_dashboard": False, "no_monitor": True, "wait": True}
    started_node(cluster, resources={"heygem": 1}, **head)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="critical")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def queue(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "RETRY_S", 0.0)
    return JobQueue(tmp_path / "queue.db")


@pytest.fixture
def add(queue, tmp_path):
    """Add one item for each text (see `helpers.cluster`); their names are p0-a, p1-a, ..."""

    def add(*kinds, **recipe):
        (tmp_path / "a.wav").write_bytes(b"sound")
        videos = []
        for number, kind in enumerate(kinds):
            path = tmp_path / f"p{number}.mp4"
            path.write_text(kind)
            videos.append(str(path))
        inputs = {
            "videos": videos,
            "audio": str(tmp_path / "a.wav"),
            "output": str(tmp_path / "out"),
        }
        params = Params.from_dict({"inputs": inputs, "mlflow": {"enabled": False}, **recipe})
        return queue.add(plan_items(params))

    return add


@contextlib.contextmanager
def driving(queue, cancel=None):
    """A driver at work in a thread; ended, or with its error raised, when the block ends."""
    from heygem.batch.cluster.driver import Driver

    driver, errors = Driver(queue, QUICK), []

    def run():
        try:
            driver.run(cancel)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield driver
    finally:
        thread.join(timeout=600)
    assert not errors, errors
    assert not thread.is_alive(), driver.fleet.problems


def wait_for(condition):
    deadline = time.monotonic() + 300
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return value


def attempts(tmp_path, name):
    return len(list((tmp_path / "journal").glob(f"{name}.*")))


def member_making(driver, name):
    return next((m for m in driver.fleet.busy() if m.job and m.job.name == name), None)


@pytest.mark.slow
@pytest.mark.fault
def test_every_item_ends_though_a_node_and_an_actor_die(cluster, records, queue, add, tmp_path):
    worker = started_node(cluster, resources={"heygem": 1})
    jobs = add("fine 600", "fine 600", "bad 0", "killed-once 0", "fine 0", "fine 0")
    with driving(queue) as driver:
        wait_for(lambda: attempts(tmp_path, "p0-a") and attempts(tmp_path, "p1-a"))
        making = {name: member_making(driver, name) for name in ("p0-a", "p1-a")}
        lost = next(name for name, m in making.items() if m.slot.node == worker.node_id)
        (cancelled,) = making.keys() - {lost}
        (tmp_path / f"{lost[:2]}.mp4").write_text("fine 0")  # for its second attempt
        os.kill(worker.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        queue.cancel(next(job.id for job in jobs if job.name == cancelled))
    states = {job.name: job for job in queue.jobs()}
    assert (states[lost].state, attempts(tmp_path, lost)) == ("done", 2)
    assert states[lost].attempts == 1  # a lost node says nothing against the item
    assert states[cancelled].state == "cancelled"
    assert not (tmp_path / f"out/{cancelled}.mp4").exists()
    assert (states["p2-a"].state, states["p2-a"].error["code"]) == ("failed", "BAD_INPUT")
    assert attempts(tmp_path, "p2-a") == 1
    assert (states["p3-a"].state, attempts(tmp_path, "p3-a")) == ("done", 2)
    assert (states["p3-a"].attempts, states["p3-a"].losses) == (1, 1)  # nor does a killed actor
    done = [job for job in states.values() if job.state == "done"]
    assert len(done) == 4
    for job in done:
        manifest = read_json(tmp_path / "out/details" / job.name)
        assert manifest["output"]["sha256"] == sha256(job.output)
        assert job.identity == manifest["id"]
    check_ledger(records, done)


def check_ledger(records, done):
    """The head's ledger is whole, and knows every finished item."""
    ledger = Ledger(records / "ledger.db", keys=keys.load(records / "keys"))
    assert ledger.verify() == []
    made = {entry.subject for entry in ledger.entries(kind="made")}
    assert {sha256(job.output) for job in done} <= made


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.skipif(KILLS < 50, reason="the long form; set HEYGEM_KILLS=50")
def test_an_item_that_kills_its_actors_or_does_not_stop_harms_no_other(
    cluster, records, queue, add, tmp_path
):
    jobs = add("deaf 600", "crashes 0", "fine 0")
    with driving(queue):
        wait_for(lambda: attempts(tmp_path, "p0-a"))
        queue.cancel(jobs[0].id)
    states = {job.name: job for job in queue.jobs()}
    assert states["p0-a"].state == "cancelled"
    assert (states["p1-a"].state, states["p1-a"].error["code"]) == ("failed", "QUARANTINED")
    assert attempts(tmp_path, "p1-a") == 3
    assert "Segmentation fault" in states["p1-a"].error["seen"]
    assert {path.name for path in (tmp_path / "out/details").glob("*")} == {"p2-a"}
    assert states["p2-a"].state == "done"
    check_ledger(records, [states["p2-a"]])


@pytest.mark.slow
@pytest.mark.fault
def test_a_driver_that_is_stopped_gives_its_items_back(cluster, queue, add, tmp_path):
    cancel = threading.Event()
    add("fine 600", "fine 0")
    with driving(queue, cancel):
        wait_for(lambda: attempts(tmp_path, "p0-a"))
        cancel.set()
    assert queue.counts()["pending"] == 2
    assert queue.get(queue.jobs()[0].id).attempts == 0
    assert not list((tmp_path / "out").glob("*.mp4"))


@pytest.mark.slow
def test_items_that_need_a_gpu_go_to_the_node_that_has_one(cluster, queue, add, tmp_path):
    jobs = add("fine 0", device="cuda") + add("fine 0.1", "fine 0.1")[1:]
    with driving(queue):
        wait_for(lambda: queue.get(jobs[0].id).state == "failed")
    assert queue.get(jobs[0].id).error["code"] == "NO_GPU"
    gpu = started_node(cluster, num_gpus=1)
    queue.retry(jobs[0].id)
    with driving(queue) as driver:
        member = wait_for(lambda: member_making(driver, "p0-a") or not queue.counts()["pending"])
    assert queue.get(jobs[0].id).state == "done"
    if member is not True:
        assert member.slot.node == gpu.node_id
    assert Path(queue.get(jobs[0].id).output).is_file()
