"""Policy of a served studio: accounts, networks, quotas, limits, and the server itself."""

import ipaddress
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest
import yaml

from heygem.batch.folder_queue import JobQueue
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import HeygemError, InputError, ParameterError, PolicyError
from heygem.provenance import ledger
from heygem.provenance.ledger import Ledger
from heygem.server import jupyter, policy, quota
from heygem.server.quota import QuotaSettings
from heygem.server.quota import admit as ask

WORD = "correct horse"


def served(folder, **more):
    """A policy file with one user; returns its path."""
    from jupyter_server.auth.security import passwd

    folder.mkdir(exist_ok=True)
    (folder / "users.yaml").write_text(f'anna: "{passwd(WORD)}"\n')
    (folder / "agreement.md").write_text("Be kind. Ask whoever you show.\n")
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(more))
    return path


@pytest.fixture
def book(tmp_path):
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def clock(monkeypatch):
    """Hands of both clocks, to be moved."""
    hands = {"boot": "b1", "up_s": 1000.0, "wall_s": 1.7e9}
    monkeypatch.setattr(quota, "_clock", lambda: dict(hands))
    return hands


def rules(tmp_path, **more):
    return policy.Rules(served(tmp_path / "rules", **more))


# --- the quota ---


def test_what_is_over_the_quota_is_refused_and_recorded(book):
    mine = QuotaSettings(videos_per_day=3, minutes_per_day=10)
    ask(book, "anna", mine, videos=2, minutes=1)
    with pytest.raises(PolicyError, match="quota of 3 videos.*2 used.*2 asked"):
        ask(book, "anna", mine, videos=2, minutes=1)
    ask(book, "anna", mine, videos=1, minutes=1)
    ask(book, "bert", mine, videos=3, minutes=1)  # each has their own
    assert quota.usage(book, "anna") == {"videos": 3, "minutes": 2}
    (refusal,) = book.entries(kind="refused")
    assert refusal.subject == "anna" and "quota" in refusal.body["reason"]
    with pytest.raises(PolicyError, match="minutes"):
        ask(book, "anna", QuotaSettings(), videos=1, minutes=59)


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_no_setting_of_the_clock_gives_a_new_quota(book, clock, days):
    mine = QuotaSettings(videos_per_day=1)
    ask(book, "anna", mine, videos=1, minutes=0.1)
    clock["wall_s"] += days * 86400
    clock["up_s"] += 60
    with pytest.raises(PolicyError):
        ask(book, "anna", mine, videos=1, minutes=0.1)
    clock["up_s"] += 86400  # a real day
    ask(book, "anna", mine, videos=1, minutes=0.1)


def test_going_back_over_a_reboot_gives_nothing_either(book, clock):
    mine = QuotaSettings(videos_per_day=1)
    ask(book, "anna", mine, videos=1, minutes=0.1)
    clock.update(boot="b2", up_s=5.0, wall_s=clock["wall_s"] - 5 * 86400)
    with pytest.raises(PolicyError):
        ask(book, "anna", mine, videos=1, minutes=0.1)
    clock.update(boot="b3", wall_s=clock["wall_s"] + 5.5 * 86400)  # half a day after the first
    with pytest.raises(PolicyError):
        ask(book, "anna", mine, videos=1, minutes=0.1)


def test_the_real_clock_runs():
    started, before = time.monotonic(), quota._clock()
    time.sleep(0.05)
    elapsed_s = quota._elapsed(before, quota._clock())
    assert 0.03 < elapsed_s <= time.monotonic() - started + 0.01


@pytest.mark.slow
def test_two_pages_at_once_cannot_share_one_video(book):
    from concurrent.futures import ThreadPoolExecutor

    mine = QuotaSettings(videos_per_day=3)

    def one(_):
        try:
            ask(book, "anna", mine, videos=1, minutes=0.1)
        except PolicyError:
            return 0
        return 1

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(9))) == 3
    assert book.verify() == []


# --- networks ---


@pytest.mark.slow
def test_only_a_known_proxy_is_believed_about_where_somebody_is(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/here.txt").write_text("203.0.113.0/24  # the house\n\n2001:db8::/32\n")
    region = {"allow": "here.txt", "trusted_proxies": ["127.0.0.1/32", "10.0.0.0/8"]}
    mine = rules(tmp_path, region=region)
    assert mine.is_served("127.0.0.1", ["203.0.113.9"])
    assert mine.is_served("::ffff:127.0.0.1", ["2001:db8::1"])
    assert mine.is_served("127.0.0.1", ["198.51.100.1, 203.0.113.9, 10.1.1.1"])
    refused = [
        ("127.0.0.1", ["198.51.100.1"]),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.1"]),  # the client says the first itself
        ("127.0.0.1", ["203.0.113.9", "198.51.100.1"]),
        ("127.0.0.1", []),
        ("127.0.0.1", ["10.1.1.1"]),
        ("127.0.0.1", ["unknown"]),
        ("127.0.0.1", ["203.0.113.9, "]),
        ("203.0.113.9", ["203.0.113.9"]),  # past the proxy
        ("", ["203.0.113.9"]),
    ]
    for peer, forwarded in refused:
        assert not mine.is_served(peer, forwarded), (peer, forwarded)
    assert mine.client("127.0.0.1", ["203.0.113.9"]) == ipaddress.ip_address("203.0.113.9")


def test_without_proxies_the_connection_itself_counts_and_headers_do_not(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/here.txt").write_text("203.0.113.0/24\n")
    mine = rules(tmp_path, region={"allow": "here.txt"})
    assert mine.is_served("203.0.113.9", ["198.51.100.1"])
    assert not mine.is_served("198.51.100.1", ["203.0.113.9"])
    (tmp_path / "rules/here.txt").write_text("# nobody\n")
    assert not rules(tmp_path, region={"allow": "here.txt"}).is_served("203.0.113.9")


# --- media limits and folders ---


@pytest.mark.slow
def test_too_large_too_long_and_elsewhere_are_refused(tmp_path):
    from heygem.batch import notebooks

    samples = notebooks.root() / "samples"
    here = {"folders": ["samples"]}
    video, sound = samples / "hopper.mp4", samples / "speech_en.wav"
    mine = rules(tmp_path, limits=here)
    assert mine.check_media(video).video is not None
    mine.check_media(sound)
    for limits, path, what in (
        ({"video_megapixels": 0.01}, video, "picture is too large"),
        ({"video_minutes": 0.001}, video, "video is too long"),
        ({"sound_minutes": 0.001}, sound, "sound is too long"),
    ):
        with pytest.raises(PolicyError, match=what):
            rules(tmp_path, limits=here | limits).check_media(path)
    away = tmp_path / "hopper.mp4"
    away.symlink_to(video)
    mine.check_media(away)  # what counts is the file, not the way to it
    inside = tmp_path / "rules" / "x.mp4"
    inside.write_bytes(b"")
    for path in (inside, samples / "../pyproject.toml", "/etc/passwd"):
        with pytest.raises(PolicyError, match="may not be chosen"):
            mine.check_media(path)


# --- the job queue ---


def test_the_queue_admits_what_the_rules_allow_and_records_the_user(tmp_path, monkeypatch):
    from heygem.batch import notebooks

    samples = notebooks.root() / "samples"
    path = served(tmp_path / "rules", quota={"videos_per_day": 1})
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv(policy.FILE_VARIABLE, str(path))
    queue = JobQueue(tmp_path / "queue", admission=policy.admit_pairs)
    pair = Pair(video=str(samples / "hopper.mp4"), audio=str(samples / "speech_en.wav"))
    with pytest.raises(PolicyError, match="nobody is logged in"):
        queue.add_all([pair], Params())
    monkeypatch.setenv(policy.USER_VARIABLE, "anna")
    with pytest.raises(PolicyError, match="agreement"):
        queue.add_all([pair], Params())
    policy.current().agree(Ledger(), "anna")
    for key, value in (
        ("inputs.voice", "os:system"),
        ("label.watermark", False),
        ("label.font", "/etc/passwd"),
        ("lips.model", "/etc/passwd"),
    ):
        with pytest.raises(PolicyError, match=f"only the owner.*{key}"):
            queue.add_all([pair.model_copy(update={"changes": {key: value}})], Params())
    (job,) = queue.add_all(
        [pair.model_copy(update={"changes": {"lips.openness_gain": 1.2}})], Params()
    )
    assert job.user == "anna" and queue.jobs()[0].user == "anna"
    with pytest.raises(PolicyError, match="quota"):
        queue.add_all([pair], Params())
    assert len(queue.jobs()) == 1


def test_rows_name_who_is_served():
    account = ledger.current_user()
    with ledger.acting_as("anna"):
        assert ledger.current_user() == "anna"
    with ledger.acting_as(""):
        assert ledger.current_user() == account


# --- the file itself ---


def test_the_example_holds_and_explains_every_key():
    from heygem.batch import notebooks
    from heygem.config import recipes

    example = notebooks.root() / "params/served/policy.yaml"
    text = example.read_text("utf-8")
    rules = policy.checked(policy.Policy, recipes.read(example))
    assert text.endswith(recipes.write(rules))
    assert (example.parent / rules.agreement).is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qouta": {}}, "qouta"),
        ({"quota": {"videos_per_day": -1}}, "videos_per_day"),
        ({"region": {"trusted_proxies": ["localhost"]}}, "not a network"),
        ({"region": {"allow": "nowhere.txt"}}, "cannot be read"),
        ({"agreement": "nothing.md"}, "cannot be read"),
        ({"users": "agreement.md"}, "agreement.md"),
    ],
)
def test_rules_that_cannot_be_read_serve_nobody(tmp_path, change, message):
    with pytest.raises((ParameterError, InputError), match=message):
        rules(tmp_path, **change)


def test_the_variable_alone_does_not_open_anything(tmp_path, monkeypatch):
    monkeypatch.setenv(policy.FILE_VARIABLE, str(tmp_path / "gone.yaml"))
    with pytest.raises(HeygemError):
        policy.current()


def test_users_are_added_and_their_passwords_are_stored_as_hashes(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from heygem.cli.main import app

    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    path = served(tmp_path / "rules")
    run = CliRunner().invoke
    done = run(app, ["policy", "user", str(path), "bert"], input="long enough\nlong enough\n")
    assert done.exit_code == 0, done.output
    users = (tmp_path / "rules/users.yaml").read_text()
    assert "long enough" not in users and policy.Rules(path).users.keys() == {"anna", "bert"}
    assert (tmp_path / "rules/users.yaml").stat().st_mode & 0o077 == 0
    output = run(app, ["policy", "check", str(path)]).output
    assert "bert       0 of 40 videos" in output and "has not agreed" in output
    for name, word in (("../x", "long enough"), ("Bert", "long enough"), ("bert", "short")):
        with pytest.raises(ParameterError):
            policy.set_password(path, name, word)


# --- the server ---


class Browser:
    """A browser, as far as HTTP goes."""

    def __init__(self, base, **headers):
        self.base, self.headers = base, headers
        self.jar = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def ask(self, path, data=None, method=None, **headers):
        """(status, text, final address)."""
        body = None if data is None else urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(self.base + path, body, method=method)
        for name, value in (self.headers | headers).items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode("utf-8", "replace"), answer.url
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace"), error.url

    def log_in(self, name, password, agree="yes"):
        _, page, _ = self.ask("login")
        (xsrf,) = re.findall(r'name="_xsrf"[^>]* value="([^"]+)"', page)
        form = {"name": name, "password": password, "agree": agree, "_xsrf": xsrf, "next": "/"}
        return self.ask("login", form)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A served studio behind a (pretended) proxy on 127.0.0.1; its address and its ledger."""
    home = tmp_path_factory.mktemp("served")
    (home / "rules").mkdir()
    (home / "rules/here.txt").write_text("203.0.113.0/24\n")
    region = {"allow": "here.txt", "trusted_proxies": ["127.0.0.1/32"]}
    path = served(home / "rules", region=region)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = jupyter.environment("", rules=policy.Rules(path))
    env |= {"HEYGEM_RECORDS": str(home / "records"), "JUPYTER_RUNTIME_DIR": str(home / "run")}
    argv = jupyter.studio_command(port=port, browser=False, served=True)
    log = open(home / "log", "w")  # noqa: SIM115
    server = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + 1200
        while True:
            try:
                Browser(base).ask("login")
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (
                    home / "log"
                ).read_text()
                time.sleep(0.3)
        yield base, home
    finally:
        server.terminate()
        server.wait(20)
        log.close()


INSIDE = {"X_Forwarded_For": "203.0.113.5"}


@pytest.mark.slow
def test_clients_from_other_networks_do_not_reach_the_login(studio):
    base, _ = studio
    for headers in ({}, {"X_Forwarded_For": "198.51.100.7"}):
        for path in ("", "login", "static/favicon.ico", "api/kernels", "files/pyproject.toml"):
            status, text, _ = Browser(base, **headers).ask(path)
            assert (status, text) == (403, "not served in your region\n"), (headers, path)


def test_login_needs_name_password_and_agreement(studio):
    base, home = studio
    stranger = Browser(base, **INSIDE)
    status, page, url = stranger.ask("")
    assert status == 200 and "/login" in url and "Be kind." in page
    for path in ("files/runs/x.mp4", f"voila/render/{jupyter.STUDIO}"):
        assert "/login" in stranger.ask(path, X_Heygem_User="anna")[2]
    assert stranger.log_in("anna", "wrong")[0] == 401
    assert stranger.log_in("nobody", WORD)[0] == 401
    assert stranger.log_in("anna", WORD, agree="")[0] == 403
    assert Ledger(home / "records/ledger.db").entries(kind="agreed") == []


@pytest.mark.slow
def test_a_user_reaches_the_studio_page_and_no_other(studio):
    base, home = studio
    anna = Browser(base, **INSIDE)
    status, page, url = anna.log_in("anna", WORD)
    assert status == 200 and url.endswith(jupyter.STUDIO), page[-2000:]
    assert "PolicyError" not in page
    (row,) = Ledger(home / "records/ledger.db").entries(kind="agreed")
    assert row.subject == "anna" and row.body["address"] == "203.0.113.5"
    for path, method in (
        ("api/contents/pyproject.toml", "GET"),
        ("api/kernels", "GET"),
        ("api/kernels", "POST"),
        ("api/sessions", "GET"),
        ("api/terminals", "GET"),
        ("files/pyproject.toml", "GET"),
        ("files/runs/../pyproject.toml", "GET"),
        ("files/runs/%2e%2e/pyproject.toml", "GET"),
        ("voila/files/pyproject.toml", "GET"),
        ("voila/render/notebooks/10_generate.ipynb", "GET"),
        ("nbconvert/html/notebooks/10_generate.ipynb", "GET"),
        ("lab", "GET"),
        ("tree", "GET"),
    ):
        status, text, _ = anna.ask(path, method=method, data={} if method == "POST" else None)
        assert (status, text) == (404, "no such page\n"), path


@pytest.mark.slow
def test_a_kernel_accepts_widget_messages_and_no_code(studio):
    import json
    import uuid

    from websockets.sync.client import connect

    base, _ = studio
    anna = Browser(base, **INSIDE)
    _, page, _ = anna.log_in("anna", WORD)
    kernel = re.search(r'"?kernelId"?:\s*"([0-9a-f-]{36})"', page)[1]
    cookies = "; ".join(f"{c.name}={c.value}" for c in anna.jar)
    address = f"{base.replace('http', 'ws')}api/kernels/{kernel}/channels"
    headers = {"Cookie": cookies, "X-Forwarded-For": "203.0.113.5"}

    def message(kind, content):
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": "s",
                  "version": "5.3", "date": ""}  # fmt: skip
        return json.dumps({"header": header, "parent_header": {}, "metadata": {},
                           "content": content, "channel": "shell", "buffers": []})  # fmt: skip

    with connect(address, additional_headers=headers, open_timeout=30) as socket_:
        code = {"code": "print(40 + 2)", "silent": False, "store_history": False}
        socket_.send(message("execute_request", code))
        socket_.send(message("kernel_info_request", {}))
        messages = []
        deadline = time.monotonic() + 120
        while not any("kernel_info_reply" in text for text in messages):
            assert time.monotonic() < deadline, messages
            messages.append(str(socket_.recv(timeout=120)))
    assert not any("execute_reply" in text or '"42' in text for text in messages)


@pytest.mark.slow
def test_the_owners_own_studio_has_no_policy(monkeypatch):
    monkeypatch.setenv(policy.FILE_VARIABLE, "somewhere.yaml")
    monkeypatch.setenv(policy.USER_VARIABLE, "anna")
    env = jupyter.environment("secret")
    assert policy.FILE_VARIABLE not in env and policy.USER_VARIABLE not in env
    assert not any("access" in text for text in jupyter.studio_command(port=1, browser=False))
    assert os.environ[policy.FILE_VARIABLE]
