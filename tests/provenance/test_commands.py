"""Commands on labels, ledger, consents and keys."""

import json

import pytest
from helpers.labelled import write_clip

from heygem.core.errors import ConsentError
from heygem.core.files import hash_input
from heygem.provenance import consent


@pytest.mark.slow
def test_verify_prints_verdicts_and_exits_with_codes(installation, command, tmp_path):
    good = command("verify", installation.result, "--json")
    assert good.exit_code == 0
    data = json.loads(good.stdout)
    assert data["verdict"] == "compliant" and data["origin"]["entry"]["body"]["run"] == "r-17"
    assert data["conclusion"] == "made here, unchanged" and data["certainty"] == "proven"
    bare = write_clip(tmp_path / "bare.mp4", [i[:, :100] for i in installation.frames[:10]])
    assert command("verify", bare, "--no-search").exit_code == 3
    assert command("verify", tmp_path / "none.mp4").exit_code == 2
    assert (
        command("verify", installation.result, tmp_path / "none.mp4", "--no-search").exit_code == 2
    )


@pytest.mark.slow
def test_ledger_commands(installation, command, tmp_path):
    assert command("ledger", "verify").exit_code == 0
    assert "result.mp4" in command("ledger", "list").stdout
    assert command("ledger", "export", tmp_path / "e.jsonl").exit_code == 0
    assert (tmp_path / "e.jsonl").read_text().count("\n") == len(installation.ledger.entries())


@pytest.mark.slow
def test_consent_and_takedown_from_the_command_line(command, installation, tmp_path):
    video = tmp_path / "person.mp4"
    video.write_bytes(b"somebody")
    about = ("--who", "P-1", "--purpose", "films", "--reference", "folder 3")
    assert command("consent", "add", video, *about, "--until", "2999-01-01").exit_code == 0
    sha256 = hash_input(video)
    assert (
        consent.require(installation.ledger, sha256, "a", basis="recorded")["reference"]
        == "folder 3"
    )
    assert command("consent", "block", "--sha256", sha256, "--reason", "rumour").exit_code == 0
    with pytest.raises(ConsentError, match="rumour"):
        consent.require(installation.ledger, sha256, "a", basis="recorded")
    lift = ("consent", "unblock", "--sha256", sha256, "--reason", "settled", "--requester", "anna")
    assert command(*lift).exit_code == 2, "nobody approves"
    assert "same person" in str(command(*lift, "--approver", "Anna").exception)
    with pytest.raises(ConsentError, match="rumour"):
        consent.require(installation.ledger, sha256, "a", basis="recorded")
    assert command(*lift, "--approver", "ben").exit_code == 0
    consent.require(installation.ledger, sha256, "a", basis="recorded")
    wrong = command("consent", "add", video, *about, "--until", "soon")
    assert wrong.exit_code != 0 and "YYYY-MM-DD" in str(wrong.exception)
    assert "rumour" in command("ledger", "list", "--kind", "blocked").stdout


def test_keys_commands_show_no_secret(command, installation):
    output = command("keys", "show").stdout
    assert installation.keys.name in output and "valid until" in output
    assert installation.keys.watermark_secret.hex() not in output and "PRIVATE" not in output
    assert "has keys already" in str(command("keys", "init").exception)
