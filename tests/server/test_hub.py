"""A real JupyterHub with the queue's service and worker, alone and behind a real nginx.

One hub for all tests of this file: anna and bert make videos, rita reviews.
"""

import asyncio
import hashlib
import importlib.util
import json
import re
import shutil
import urllib.request
import uuid
from pathlib import Path

import pytest
from helpers import hub as hubs
from helpers.hub import Browser, Hub
from helpers.nginx import Nginx

from heygem.batch import notebooks
from heygem.batch.items import plan_items
from heygem.config.params import Params
from heygem.core.errors import InputError, PolicyError
from heygem.provenance.ledger import Ledger
from heygem.server.api.client import ApiError, Client
from heygem.server.client import HubQueue

if importlib.util.find_spec("jupyterhub") is None:
    pytest.skip("jupyterhub is not installed: pip install -e '.[hub]'", allow_module_level=True)
if reason := hubs.missing():
    pytest.skip(reason, allow_module_level=True)

pytestmark = pytest.mark.slow
SAMPLES = notebooks.root() / "samples"


class User:
    """Somebody who has logged in, with a browser and with the queue of the studio."""

    def __init__(self, hub, name):
        self.browser = Browser(hub.address)
        assert self.browser.log_in(name)[2].endswith("/hub/home")
        token = self.browser.token(name)
        self.token = token
        self.queue = HubQueue(f"{hub.address}/services/heygem/", token=token)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    rules = {"quota": {"videos_per_day": 2}, "limits": {"upload_mb": 16}}
    running = Hub(tmp_path_factory.mktemp("hub"), reviewers=["rita"], **rules)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def anna(hub):
    return User(hub, "anna")


@pytest.fixture(scope="module")
def bert(hub):
    return User(hub, "bert")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Six tenths of a second of speech."""
    from heygem.media import read_audio, write_wav

    path = tmp_path_factory.mktemp("speech") / "short.wav"
    track = read_audio(SAMPLES / "speech_en.wav")
    write_wav(path, track.samples[track.rate_hz : int(1.6 * track.rate_hz)], track.rate_hz)
    return path


def items(speech, *names, **settings):
    row = {"video": str(SAMPLES / "hopper.jpg"), "audio": str(speech)}  # a still is quickly tracked
    rows = [{**row, "name": name} for name in names]
    return plan_items(Params().override({"inputs.pairs": rows, **settings}))


@pytest.fixture(scope="module")
def made(hub, anna, bert, speech):
    """Two videos of anna and one of bert, made by the hub's worker; ids by name."""
    with pytest.raises(PolicyError, match="agreement"):
        anna.queue.add(items(speech, "a1"))
    for user in (anna, bert):
        assert user.browser.agree()[0] == 200
        assert user.queue.usage()["agreed"]
    jobs = anna.queue.add(items(speech, "a1", "a2", **{"lips.openness_gain": 1.1}))
    jobs += bert.queue.add(items(speech, "b1"))
    hub.wait_for(lambda: not any(job.open for user in (anna, bert) for job in user.queue.jobs()))
    return {job.name: job.id for job in jobs}


def test_two_people_have_one_queue_that_takes_turns_and_see_their_own(made, anna, bert):
    for user, names in ((anna, ["a1", "a2"]), (bert, ["b1"])):
        jobs = user.queue.jobs()
        assert [(job.name, job.state) for job in jobs] == [(n, "done") for n in names], jobs
        assert user.queue.counts()["done"] == user.queue.totals()["done"].number == len(names)
        assert user.queue.workers() == [] and user.queue.paused() == ""
        page = user.browser.ask("/services/heygem/")[1]
        assert re.findall(r'<article id="(\w+)"', page) == [job.id for job in reversed(jobs)]
    started = {job.name: job.started for user in (anna, bert) for job in user.queue.jobs()}
    assert started["a1"] < started["b1"] < started["a2"]


def test_a_video_goes_to_its_owner_and_to_the_reviewer_alone(hub, made, anna, bert):
    rita = User(hub, "rita")
    path = f"/services/heygem/results/{made['a1']}/video"
    assert b"ftyp" in _bytes(anna, hub, path, Range="bytes=0-63")
    assert b"ftyp" in _bytes(rita, hub, path)
    assert bert.browser.ask(path)[0] == 404
    assert "/hub/login" in Browser(hub.address).ask(path)[2]
    page = rita.browser.ask("/services/heygem/")[1]
    assert all(job_id in page for job_id in made.values()) and "anna" in page
    assert {job.owner for job in rita.queue.jobs(owner="*")} == {"anna", "bert"}
    # A reviewer reads, and changes nothing.
    with pytest.raises(InputError, match="no such job"):
        rita.queue.remove(made["a1"])
    with pytest.raises(PolicyError, match="only reviewers"):
        bert.queue.jobs(owner="anna")


def _bytes(user, hub, path, **headers):
    """The body of an answer, with the browser's cookies."""
    request = urllib.request.Request(hub.address + path, headers=headers)
    return user.browser._opener.open(request, timeout=60).read()


def test_results_lie_in_their_owners_folder_and_name_the_owner(hub, made):
    for owner, names in (("anna", {"a1.mp4", "a2.mp4"}), ("bert", {"b1.mp4"})):
        folder = hub.state / "results" / owner
        assert {path.name for path in folder.glob("*.mp4")} == names
    assert hub.state.stat().st_mode & 0o077 == 0
    assert not (hub.folder / "mlruns").exists()
    book = Ledger(hub.state / "records/ledger.db")
    users = [row.body["user"] for row in book.entries(kind="begun")]
    assert sorted(users) == ["anna", "anna", "bert"]
    assert {row.subject for row in book.entries(kind="agreed")} == {"anna", "bert"}


def test_the_third_video_is_over_the_quota(made, anna, speech):
    with pytest.raises(PolicyError, match="quota of 2 videos.*2 used.*1 asked"):
        anna.queue.add(items(speech, "a3"))
    assert anna.queue.usage()["used"]["videos"] == 2


def test_the_service_refuses_what_only_the_owner_of_the_installation_may_set(anna, speech):
    with pytest.raises(PolicyError, match="only the owner.*label.watermark"):
        anna.queue.add(items(speech, "x", **{"label.watermark": False}))


def test_a_file_may_be_larger_than_a_request(hub, anna, tmp_path):
    data = bytes(9 << 20)
    path = f"/services/heygem/api/inputs/{hashlib.sha256(data).hexdigest()}.wav"
    authorized = {"Authorization": f"token {anna.token}"}
    assert Browser(hub.address).ask(path, data, "PUT", **authorized)[0] == 200
    assert Browser(hub.address).ask(path, data[1:], "PUT", **authorized)[0] == 400
    assert Browser(hub.address).ask(path, b"x", "PUT")[0] == 403
    with pytest.raises(PolicyError, match="at most 16 MiB"):  # before anything is sent
        anna.queue.add(items(_large(tmp_path / "large.wav"), "large"))


def _large(path):
    with open(path, "wb") as stream:
        stream.truncate(17 << 20)
    return path


def test_nobody_acts_for_another_or_without_a_token(hub, made, anna, bert):
    with pytest.raises(InputError, match="no such job"):
        bert.queue.get(made["a1"])
    with pytest.raises(InputError, match="no such job"):
        bert.queue.cancel(made["a1"])
    api = "/services/heygem/api/jobs"
    for browser in (Browser(hub.address), anna.browser):  # a cookie alone is no token
        assert browser.ask(api)[0] == 403
        assert browser.ask(api, b'{"items": []}', "POST")[0] == 403
    wrong = {"Authorization": "token " + "0" * 32}
    assert Browser(hub.address).ask(api, **wrong)[0] == 403
    # A form of another site has no token of the page.
    status, _, _ = bert.browser.ask("/services/heygem/agreement", {"version": "x"})
    assert status == 403


# --- a user's own server ---


@pytest.fixture(scope="module")
def studio(hub, bert):
    """The page of bert's server."""
    bert.browser.ask("/hub/spawn")
    hub.wait_for(lambda: "/voila/render" in bert.browser.ask("/user/bert/")[2])
    return bert.browser.ask("/user/bert/")


def test_a_users_server_opens_the_studio_with_the_hubs_queue(hub, studio):
    status, page, address = studio
    assert status == 200 and address.endswith("/user/bert/voila/render/studio.ipynb")
    assert "Traceback" not in page and "voila.js" in page
    folder = hub.folder / "homes/bert/heygem"
    assert folder.stat().st_mode & 0o077 == 0 and (folder / "studio.ipynb").is_file()
    assert not (folder / "runs/queue.db").exists()


def test_the_api_of_a_users_server_is_the_way_to_the_hubs_queue(
    hub, studio, made, bert, anna, speech, tmp_path
):
    scopes = "access:servers!server=bert/ access:services!service=heygem"
    client = Client(f"{hub.address}/user/bert", bert.browser.token("bert", scopes))
    assert [job["id"] for job in client.jobs()] == [made["b1"]], "one's own"
    assert [kind for kind, _ in client.events(job=made["b1"])] == ["job", "end"]
    video = client.download(made["b1"], tmp_path / "b1.mp4")
    assert video.read_bytes() == Path(bert.queue.get(made["b1"]).output).read_bytes()
    sound = client.upload(speech)
    assert Path(sound).parent == hub.folder / "homes/bert/heygem/runs/uploads"
    still = client.upload(SAMPLES / "hopper.jpg")
    recipe = {"inputs": {"pairs": [{"video": still, "audio": sound, "name": n} for n in "abc"]}}
    with pytest.raises(ApiError, match="quota") as over:
        client.submit(recipe, batch="night")
    assert (over.value.status, over.value.code) == (403, "POLICY")
    with pytest.raises(ApiError, match="no such job") as other:
        client.cancel(made["a1"])
    assert other.value.status == 404
    with pytest.raises(ApiError) as stranger:
        Client(f"{hub.address}/user/bert", anna.token).jobs()
    assert stranger.value.status == 403


def test_others_do_not_reach_a_users_server(hub, studio, anna):
    for path in ("/user/bert/", "/user/bert/api/contents", "/user/bert/files/studio.ipynb"):
        assert anna.browser.ask(path)[0] == 403, path
    assert "/hub/login" in Browser(hub.address).ask("/user/bert/")[2]


# --- behind nginx ---

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def front(hub, tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("front") / "nginx", hub.address) as running:
        hub.wait_for(lambda: running.browser().ask("/hub/health")[0] == 200)
        yield running


@needs_nginx
def test_people_log_in_through_tls_and_nobody_says_where_they_are(hub, front):
    browser = front.browser()
    forged = {"X_Forwarded_For": "203.0.113.9", "X_Real_IP": "203.0.113.9", "Forwarded": "for=x"}
    status, _, address = browser.log_in("carl", **forged)
    assert status == 200 and address == f"{front.address}/hub/home"
    assert all(cookie.secure for cookie in browser.jar if cookie.name.startswith("jupyterhub"))
    status, page, _ = browser.ask("/services/heygem/agreement", **forged)
    version = re.search(r'name="version" value="(\w+)"', page)[1]
    form = {"_xsrf": hubs.xsrf(page), "version": version}
    assert browser.ask("/services/heygem/agreement", form, **forged)[0] == 200
    (row,) = Ledger(hub.state / "records/ledger.db").entries(kind="agreed", subject="carl")
    assert row.body["address"] == "127.0.0.1"


@needs_nginx
def test_security_headers_and_the_way_to_tls(front):
    answer = front.open("/hub/login")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "/1." not in answer.headers["Server"]
    status, location = front.ask_plain("/hub/login")
    assert (status, location) == (301, "https://studio.example.org/hub/login")


@needs_nginx
def test_a_body_that_is_too_large_is_refused_by_the_proxy(front):
    assert front.browser().ask("/hub/login", bytes(100_000), "POST")[0] == 413
    assert front.browser().ask("/user/bert/api/contents/x", bytes(13 << 20), "PUT")[0] == 413


@needs_nginx
def test_widgets_speak_through_nginx(front, studio, bert):
    # Not the client with a thread of its own: Python 3.11 does not lock a TLS connection.
    from websockets.asyncio.client import connect

    authorized = {
        "Authorization": f"token {bert.browser.token('bert', 'access:servers!user=bert')}"
    }
    status, text, _ = front.browser().ask("/user/bert/api/kernels", b"{}", "POST", **authorized)
    assert status == 201, text
    kernel = json.loads(text)["id"]
    address = f"{front.address.replace('http', 'ws')}/user/bert/api/kernels/{kernel}/channels"
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "kernel_info_request", "username": "",
              "session": "s", "version": "5.3", "date": ""}  # fmt: skip
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": {},
               "channel": "shell", "buffers": []}  # fmt: skip

    async def ask():
        opened = connect(address, additional_headers=authorized, ssl=front.context)
        async with asyncio.timeout(120), opened as channel:
            await channel.send(json.dumps(request))
            while "kernel_info_reply" not in str(await channel.recv()):
                pass

    asyncio.run(ask())


@needs_nginx
def test_guessing_passwords_is_slowed_down(front):
    answers = [front.browser().ask("/hub/login")[0] for _ in range(12)]
    assert 429 in answers and set(answers) <= {200, 429}


@needs_nginx
def test_networks_that_are_not_served_get_nothing(tmp_path):
    denied = {"allow all;": "allow 192.0.2.0/24; deny all;"}
    with Nginx(tmp_path / "nginx", "http://127.0.0.1:9", **denied) as front:
        front.wait()
        for path in ("/", "/hub/login", "/services/heygem/"):
            assert front.browser().ask(path)[0] == 403, path
