"""Policy of an installation that serves several people: agreement, quotas, limits, the file."""

import time

import pytest
from helpers.hub import write_policy

from heygem.core.errors import HeygemError, ParameterError, PolicyError
from heygem.provenance import ledger
from heygem.provenance.ledger import Ledger
from heygem.server import policy, quota
from heygem.server.quota import QuotaSettings
from heygem.server.quota import admit as ask


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
    return policy.Rules(write_policy(tmp_path / "rules", **more))


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


# --- agreement and limits ---


def test_an_agreement_is_to_one_text(tmp_path, book):
    mine = rules(tmp_path)
    with pytest.raises(PolicyError, match="agreement"):
        mine.require_agreement(book, "anna")
    mine.agree(book, "anna", address="203.0.113.5")
    mine.agree(book, "anna", address="203.0.113.6")  # recorded once
    mine.require_agreement(book, "anna")
    (row,) = book.entries(kind="agreed")
    assert (row.subject, row.body["address"]) == ("anna", "203.0.113.5")
    (tmp_path / "rules/agreement.md").write_text("Be kinder.\n")
    with pytest.raises(PolicyError, match="has changed"):
        policy.Rules(mine.path).require_agreement(book, "anna")


@pytest.mark.slow
def test_too_large_and_too_long_are_refused(tmp_path):
    from heygem.batch import notebooks

    samples = notebooks.root() / "samples"
    video, sound = samples / "hopper.mp4", samples / "speech_en.wav"
    assert rules(tmp_path).check_media(video).video is not None
    rules(tmp_path).check_media(sound)
    for limits, path, what in (
        ({"video_megapixels": 0.01}, video, "picture is too large"),
        ({"video_minutes": 0.001}, video, "video is too long"),
        ({"sound_minutes": 0.001}, sound, "sound is too long"),
    ):
        with pytest.raises(PolicyError, match=what):
            rules(tmp_path, limits=limits).check_media(path)


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
    mine = policy.checked(policy.Policy, recipes.read(example))
    assert text.endswith(recipes.write(mine))
    assert (example.parent / mine.agreement).is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qouta": {}}, "qouta"),
        ({"quota": {"videos_per_day": -1}}, "videos_per_day"),
        ({"agreement": "nothing.md"}, "cannot be read"),
        ({"recipe": "nothing.yaml"}, "nothing.yaml"),
    ],
)
def test_rules_that_cannot_be_read_serve_nobody(tmp_path, change, message):
    with pytest.raises(HeygemError, match=message):
        rules(tmp_path, **change)


@pytest.mark.parametrize(
    ("change", "replacement"),
    [
        ({"users": "users.yaml"}, "JupyterHub.*authenticator"),
        ({"region": {"allow": "here.txt"}}, "reverse proxy.*nginx.conf"),
        ({"limits": {"folders": ["samples"]}}, "send their files"),
    ],
)
def test_settings_of_an_earlier_version_are_refused_with_what_replaces_them(
    tmp_path, change, replacement
):
    with pytest.raises(ParameterError, match=f"no longer part.*{replacement}"):
        rules(tmp_path, **change)


def test_commands_of_an_earlier_version_say_what_replaces_them(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from heygem.cli.main import app

    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    path = write_policy(tmp_path / "rules")
    run = CliRunner().invoke
    for words in (["studio", "--policy", str(path)], ["policy", "user", str(path), "bert"]):
        refused = run(app, words)
        assert isinstance(refused.exception, ParameterError), refused.output
        assert "JupyterHub" in str(refused.exception)


def test_check_shows_what_each_user_has_used(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from heygem.cli.main import app

    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    path = write_policy(tmp_path / "rules")
    run = CliRunner().invoke
    assert run(app, ["policy", "check", str(path)]).exit_code == 0
    from heygem.provenance import keys

    book = Ledger(keys=keys.ensure())
    ask(book, "anna", QuotaSettings(), videos=3, minutes=1)
    policy.Rules(path).agree(book, "bert")
    output = run(app, ["policy", "check", str(path)]).output
    assert "anna       3 of 40 videos, 1.0 of 60 minutes; has not agreed" in output
    assert "bert       0 of 40 videos, 0.0 of 60 minutes; agreed" in output
