"""The HTTP API of a real server, with its Python client; the tests act as the worker."""

import json
import shutil
import threading
import urllib.parse
from pathlib import Path

import pytest
from helpers import browser
from helpers.browser import SAMPLES, TOKEN, Server
from openapi_spec_validator import validate

from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.batch.workers import background
from heygem.core.errors import PolicyError
from heygem.core.files import read_json
from heygem.server import UPLOADS, jupyter
from heygem.server.api import openapi
from heygem.server.api.client import ApiError, Client
from heygem.server.api.operations import Operations
from heygem.server.api.paths import AllowedFolders
from heygem.server.api.schemas import JobRequest

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server whose folder holds a person and a sound."""
    root = tmp_path_factory.mktemp("served")
    shutil.copy(SAMPLES / "hopper.jpg", root / "anna.jpg")
    shutil.copy(SAMPLES / "hopper.jpg", root / "ben.jpg")
    shutil.copy(SAMPLES / "speech_en.wav", root / "hello.wav")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEYGEM_QUEUE", str(root / "queue.db"))
        patch.setenv("HOME", str(root / "home"))
        server = Server(jupyter.studio_command, root)
    server.root = root
    yield server
    server.close()


@pytest.fixture
def queue(served):
    """The server's queue, empty."""
    queue = JobQueue(served.root / "queue.db")
    queue.cancel_all()
    queue.clear()
    return queue


@pytest.fixture
def client(served):
    return Client(served.base, TOKEN)


def recipe(*people, **settings):
    videos = [f"{name}.jpg" for name in people]
    return {"inputs": {"videos": videos, "audio": "hello.wav", "output": "out"}, **settings}


def make(queue, content=b"0123456789"):
    """Make the next job as a worker does; returns it."""
    job = queue.claim("w")
    Path(job.output).parent.mkdir(parents=True, exist_ok=True)
    Path(job.output).write_bytes(content)
    return queue.finish(job.id, "w", Outcome(job.name, Path(job.video), "done", seconds=1.5))


def ask(served, method, path, body=None, **headers):
    """(status, headers, content) of a request to the API, with these headers only."""
    return browser.ask(served.port, method, f"/heygem/api/{path}", body, **headers)


def refused(served, method, path, body=None, **headers):
    """(status, error) of a refused request, with the token."""
    headers = {"Authorization": f"token {TOKEN}", **headers}
    status, _, content = ask(served, method, path, body, **headers)
    error = json.loads(content)
    assert set(error) == {"code", "message", "seen", "remedy", "lang"}
    assert b"Traceback" not in content
    return status, error


def test_the_document_is_valid_and_the_one_of_the_docs(served, client):
    served_document = client._ask("GET", "openapi.json")
    validate(served_document)
    assert served_document["servers"] == [{"url": "/heygem/api"}]
    documented = read_json(DOCS, name="openapi.json")
    assert documented == openapi.document(), "python -m heygem.server.api.openapi docs/openapi.json"
    assert served_document | {"servers": documented["servers"]} == documented


def test_every_documented_request_is_answered(served, queue):
    for path, operations in openapi.document()["paths"].items():
        for method in operations:
            address = path[1:].replace("{id}", "0" * 32).replace("{batch}", "none")
            token = {"Authorization": f"token {TOKEN}"}
            status, _, content = ask(served, method.upper(), address, b"{}", **token)
            assert status in (200, 204, 400, 404), (method, path, content)
            assert b"NO_SUCH_ADDRESS" not in content, (method, path)
    assert refused(served, "GET", "nothing")[1]["code"] == "NO_SUCH_ADDRESS"
    assert refused(served, "DELETE", "jobs")[1]["code"] == "WRONG_METHOD"


def test_a_batch_is_submitted_followed_and_fetched(served, queue, client, tmp_path):
    jobs = client.submit(
        recipe("anna", "ben", **{"lips.openness_gain": 1.3}), batch="a/b ü", start=False
    )
    assert [(job["state"], job["batch"]) for job in jobs] == [("pending", "a/b ü")] * 2
    assert jobs[0]["output"] == str(served.root / "out/anna-hello.mp4")
    assert queue.get(jobs[0]["id"]).item().params.lips.openness_gain == 1.3
    assert client.batch("a/b ü")["counts"]["pending"] == 2
    with pytest.raises(ApiError, match="not finished") as early:
        client.download(jobs[0]["id"], tmp_path / "early.mp4")
    assert early.value.status == 409 and not (tmp_path / "early.mp4").exists()

    make(queue, content=bytes(range(256)) * 5000)
    target = client.download(jobs[0]["id"], tmp_path / "anna.mp4")
    assert target.read_bytes() == bytes(range(256)) * 5000
    token = {"Authorization": f"token {TOKEN}"}
    path = f"jobs/{jobs[0]['id']}/result"
    status, headers, part = ask(served, "GET", path, Range="bytes=254-257", **token)
    assert (status, part) == (206, b"\xfe\xff\x00\x01")
    assert headers["Content-Range"] == "bytes 254-257/1280000"
    assert headers["Content-Type"] == "video/mp4"
    assert ask(served, "HEAD", path, **token)[1]["Content-Length"] == "1280000"

    client.cancel(jobs[1]["id"])
    assert client.job(jobs[1]["id"])["state"] == "cancelled"
    assert client.batch("a/b ü")["finished"]
    with pytest.raises(ApiError, match="finished") as again:
        client.cancel(jobs[1]["id"])
    assert again.value.code == "WRONG_STATE"
    queue.pause()  # so that no worker is started for it
    client.retry(batch="a/b ü")
    queue.resume()
    assert [job["state"] for job in client.jobs(batch="a/b ü")] == ["done", "pending"]
    assert [job["id"] for job in client.jobs(states=("pending",))] == [jobs[1]["id"]]
    assert client.jobs(limit=1, offset=1)[0]["id"] == jobs[1]["id"]
    client.cancel(batch="a/b ü")


def test_events_tell_what_happens_until_the_end(served, queue, client):
    jobs = client.submit(recipe("anna", "ben"), batch="b", start=False)
    streams = {"job": client.events(job=jobs[1]["id"]), "batch": client.events(batch="b")}
    events = {name: [next(stream)] for name, stream in streams.items()}
    assert events["job"][0][1]["state"] == "pending"
    assert events["batch"][0][1]["counts"]["pending"] == 2
    make(queue)
    job = queue.claim("w")
    queue.heartbeat(job.id, "w", {"stage": "render", "done": 3, "total": 9})
    while not events["job"][-1][1]["progress"]:
        events["job"].append(next(streams["job"]))
    assert events["job"][-1][1]["progress"]["done"] == 3
    failed = {"what": "the person's face is not in view", "remedy": "choose another"}
    queue.finish(
        job.id, "w",
        Outcome(job.name, Path(job.video), "failed", code="NO_FACE", reason=failed, bad_input=True),
    )  # fmt: skip
    for name, stream in streams.items():
        events[name] += list(stream)
        assert [kind for kind, _ in events[name]].index("end") == len(events[name]) - 1
    error = events["job"][-1][1]["error"]
    assert (error["code"], error["message"]) == ("NO_FACE", failed["what"])
    assert (
        events["batch"][-1][1]["counts"] | {"done": 1, "failed": 1}
        == (events["batch"][-1][1]["counts"])
    )
    ended = {data["id"]: data["state"] for kind, data in events["batch"] if kind == "job"}
    assert set(ended.values()) == {"done", "failed"}
    assert client.wait(batch="b")["finished"], "what is over ends at once"


def test_a_stream_that_breaks_is_opened_again_and_holds_no_one_up(served, queue, client):
    (job,) = client.submit(recipe("anna"), start=False)
    result = {}
    thread = threading.Thread(target=lambda: result.update(client.wait(job=job["id"])))
    thread.start()
    gone = client.events(job=job["id"])
    next(gone)
    gone.close()
    make(queue)
    thread.join(60)
    assert result["state"] == "done" and result["result"] == f"jobs/{job['id']}/result"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("{", "BAD_INPUT", "no JSON"),
        ("[]", "BAD_INPUT", "no JSON object"),
        ("{}", "BAD_PARAMETER", "params"),
        ({"params": {}, "colour": 1}, "BAD_PARAMETER", "colour"),
        ({"params": {}}, "BAD_PARAMETER", "no video is named"),
        ({"params": recipe("anna", **{"lips.opennes_gain": 1})}, "BAD_PARAMETER", "opennes_gain"),
        ({"params": recipe("nobody")}, "BAD_INPUT", "no such file"),
        ({"params": recipe("../../etc/*")}, "POLICY", "outside the folders"),
    ],
)
def test_a_wrong_request_queues_nothing_and_says_what_to_do(served, queue, body, code, words):
    text = body if isinstance(body, str) else json.dumps(body)
    status, error = refused(served, "POST", "jobs", text)
    assert status == (403 if code == "POLICY" else 400)
    assert error["code"] == code and words in json.dumps(error)
    assert queue.jobs() == []


def test_errors_are_in_the_language_of_the_request(served):
    status, error = refused(served, "GET", "jobs/none", **{"Accept-Language": "fr, zh;q=0.8"})
    assert (status, error["code"], error["lang"]) == (404, "NOT_FOUND", "zh")
    assert error["message"] == "没有此任务" and error["seen"] == "none"
    assert refused(served, "GET", "jobs/none?lang=en")[1]["message"] == "no such job"


def test_only_the_token_or_a_page_of_the_server_itself_may_ask(served, queue):
    for wrong in ({}, {"Authorization": "token wrong"}):
        status, _, content = ask(served, "GET", "jobs", **wrong)
        assert status == 403 and json.loads(content)["code"] == "FORBIDDEN"
    query = urllib.parse.urlencode({"token": TOKEN})
    _, headers, _ = browser.ask(served.port, "GET", f"/api/status?{query}")
    cookies = "; ".join(c.split(";")[0] for c in headers.get_all("Set-Cookie"))
    body = json.dumps({"params": recipe("anna"), "start": False})
    assert ask(served, "GET", "jobs", Cookie=cookies)[0] == 200
    assert ask(served, "POST", "jobs", body, Cookie=cookies)[0] == 403, "no XSRF header"
    assert queue.jobs() == []
    foreign = {"Cookie": cookies, "Origin": "https://example.org", "Referer": "https://example.org"}
    assert ask(served, "GET", "jobs", **foreign)[0] in (403, 404)


def test_a_file_is_sent_by_the_client_and_named_in_a_job(served, queue, client, tmp_path):
    speech = tmp_path / "mine.wav"
    shutil.copy(SAMPLES / "speech_en.wav", speech)
    path = client.upload(speech)
    assert Path(path) == served.root / UPLOADS / "mine.wav"
    inputs = {"videos": ["anna.jpg"], "audio": path, "output": "out"}
    (job,) = client.submit({"inputs": inputs}, start=False)
    assert job["audio"] == path
    with pytest.raises(ApiError, match="no such upload") as missing:
        client._ask("PATCH", f"uploads/{'0' * 32}", b"x", **{"Upload-Offset": "0"})
    assert missing.value.status == 404


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ApiError, match="cannot be reached") as error:
        Client("http://127.0.0.1:9", TOKEN).jobs()
    assert error.value.code == "UNREACHABLE"


def test_a_worker_is_started_once_and_a_pause_stays(served, queue, monkeypatch):
    started = []
    monkeypatch.setattr(background, "start_worker", started.append)
    operations = Operations(queue, AllowedFolders(served.root))
    queue.pause("by hand")
    operations.submit(JobRequest(params=recipe("anna")))
    assert started == [] and queue.paused() == "by hand"
    queue.resume()
    for name in ("anna", "ben"):
        operations.submit(JobRequest(params=recipe(name)))
    assert started == [queue]


def test_links_patterns_and_sweeps_do_not_lead_out_of_the_folders(tmp_path):
    for name in ("root", "home", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp4").write_bytes(b"x")
    (tmp_path / "root" / "link.mp4").symlink_to(tmp_path / "secret" / "a.mp4")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "secret")
    folders = AllowedFolders(tmp_path / "root", [tmp_path / "home"])
    assert folders.input("a.mp4") == str(tmp_path / "root/a.mp4")
    assert folders.input(f"{tmp_path}/home/*.mp4") == f"{tmp_path}/home/*.mp4"
    for name in ("link.mp4", "folder/*.mp4", "*/../../secret/*", "../secret/a.mp4", "/etc/passwd"):
        with pytest.raises(PolicyError):
            folders.input(name)
    for name in ("../out", "folder/out", str(tmp_path / "home")):
        with pytest.raises(PolicyError):
            folders.output(name)
    inputs = {"videos": ["a.mp4"], "audio": "a.mp4"}
    logo = {"inputs": inputs, "sweep": {"label.logo": ["../secret/logo.png"]}}
    operations = Operations(JobQueue(tmp_path / "q.db"), folders)
    for params in (logo, {"inputs": inputs, "checkpoint": "/etc/passwd", "engine": "wav2lip"}):
        with pytest.raises(PolicyError):
            operations.submit(JobRequest(params=params))
    hidden = {"inputs": {"videos": ["*.mp4"], "audio": "a.mp4"}}
    with pytest.raises(PolicyError):  # a pattern that matches the link
        operations.submit(JobRequest(params=hidden, start=False))
