"""From the samples to a labelled video, through what a copy goes through, and back to its run."""

import json
import shutil
import subprocess

import av
import cv2
import pytest
from helpers.media import write_wav
from typer.testing import CliRunner

from heygem import audio, media
from heygem.batch import notebooks
from heygem.cli.main import app
from heygem.core.files import hash_input
from heygem.provenance.ledger import Ledger

pytestmark = pytest.mark.slow

SAMPLES = notebooks.root() / "samples"
SECONDS = 3.0
run = CliRunner().invoke


@pytest.fixture(scope="module")
def produced(tmp_path_factory):
    """One video from the samples, made by the command line in an installation of its own."""
    home = tmp_path_factory.mktemp("house")
    speech = audio.load(SAMPLES / "speech_en.wav")
    sound = write_wav(home / "speech.wav", speech.samples[: int(SECONDS * 16_000)], 16_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEYGEM_RECORDS", str(home / "records"))
        patch.setenv("COLUMNS", "200")
        changes = ("mlflow.enabled=false", "media.preset=veryfast", "label.producer=Example")
        options = [word for change in changes for word in ("--set", change)]
        done = run(app, ["generate", "--video", str(SAMPLES / "hopper.mp4"), "--audio", str(sound),
                         "--out", str(home / "out"), *options])  # fmt: skip
        assert done.exit_code == 0, done.output
        (result,) = (home / "out").glob("*.mp4")
        yield type("Made", (), {"home": home, "sound": sound, "result": result,
                                "again": options})  # fmt: skip


@pytest.fixture
def records(produced, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(produced.home / "records"))
    return Ledger()


def verify(*words):
    done = run(app, ["verify", "--json", *map(str, words)])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()]


def copy_of(result, path, *, scale=1.0, crf=28):
    """A copy without metadata, encoded anew, smaller."""
    with media.VideoReader(result) as reader:
        frames = [(frame.image, frame.time_s) for frame in reader]
    height, width = (round(n * scale / 2) * 2 for n in frames[0][0].shape[:2])
    track = media.read_audio(result)
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=width, height=height, rate=25, audio=track,
        crf=crf, preset="veryfast",
    ) as writer:  # fmt: skip
        for image, time_s in frames:
            writer.write(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), time_s)
    return path


@pytest.mark.slow
def test_the_result_is_compliant_in_every_layer(produced, records):
    code, (report,) = verify(produced.result)
    assert code == 0 and report["verdict"] == "compliant"
    assert {layer["verdict"] for layer in report["layers"].values()} == {"compliant"}
    assert report["origin"]["evidence"] == [
        "hash", "binding", "metadata", "credentials", "watermark", "fingerprint",
    ]  # fmt: skip


def test_the_ledger_row_names_inputs_user_and_label(produced, records):
    (row,) = records.entries(kind="made")
    body = row.body
    assert row.subject == hash_input(produced.result)
    assert body["sources"] == {
        "video": hash_input(SAMPLES / "hopper.mp4"),
        "sound": hash_input(produced.sound),
    }
    assert body["permission"]["basis"] == "own" and body["user"] and len(row.watermark_id) == 16
    assert len(body["models"]["lips"]) == 64 and len(body["models"]) > 2
    assert len(body["code"]["source_sha256"]) == 64
    assert body["params"]["media"]["preset"] == "veryfast"
    assert set(body["layers"].values()) == {"written"}
    assert body["fingerprint"]


@pytest.mark.slow
def test_a_stripped_scaled_and_encoded_copy_is_traced_to_its_run(produced, records, tmp_path):
    copy = copy_of(produced.result, tmp_path / "copy.mp4", scale=0.75)
    code, (report,) = verify(copy)
    assert code == 1  # its metadata is gone, and that is wrong
    assert report["layers"]["metadata"]["verdict"] == "not found"
    assert report["layers"]["c2pa"]["verdict"] == "not found"
    (row,) = records.entries(kind="made")
    assert report["origin"]["entry"]["number"] == row.number
    assert report["conclusion"] == "made here, changed since" and report["certainty"] == "strong"
    assert report["origin"]["evidence"] == ["watermark", "fingerprint"]


@pytest.mark.slow
def test_a_ruined_copy_is_still_likely_ours_by_looks_and_sound(produced, records, tmp_path):
    copy = copy_of(produced.result, tmp_path / "copy.mp4", scale=0.3, crf=40)
    _, (report,) = verify("--no-search", copy)
    assert "fingerprint" in report["origin"]["evidence"]
    assert report["conclusion"] == "made here, changed since"


@pytest.mark.slow
def test_what_was_never_made_here_is_not_claimed(produced, records):
    code, (report,) = verify(SAMPLES / "collins.mp4")
    assert code == 0 and report["origin"] is None  # labelled, but by somebody else


# --- readers that are not ours ---


def aigc(text):
    return json.loads(text)["ContentProducer"]


def test_mediainfo_agrees(produced):
    from pymediainfo import MediaInfo

    (general,) = MediaInfo.parse(produced.result).general_tracks
    assert aigc(general.to_data()["aigc"]) == "Example"


def test_the_libraries_own_readers_agree(produced):
    import c2pa

    with av.open(str(produced.result)) as box:
        assert aigc(box.metadata["AIGC"]) == "Example"
    with c2pa.Reader(produced.result) as reader:  # without our settings and our roots
        manifest_store = json.loads(reader.json())
    active = manifest_store["manifests"][manifest_store["active_manifest"]]
    assert manifest_store["validation_state"] == "Valid"
    actions = next(a for a in active["assertions"] if a["label"].startswith("c2pa.actions"))
    assert [a["action"] for a in actions["data"]["actions"]] == ["c2pa.opened", "c2pa.edited"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("ffprobe", ["-v", "error", "-show_entries", "format_tags=AIGC", "-of", "json"]),
        ("exiftool", ["-json", "-AIGC"]),
        ("mediainfo", ["--Output=JSON"]),
    ],
)
def test_programs_that_are_here_agree(produced, tool, arguments):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    output = subprocess.run(
        [tool, *arguments, str(produced.result)], capture_output=True, text=True, check=True
    ).stdout
    assert '\\"ContentProducer\\":\\"Example\\"' in output.replace(", ", ",")


# --- after a complaint ---


@pytest.mark.slow
def test_the_takedown_list_keeps_it_from_being_made_again(produced, records, tmp_path, monkeypatch):
    home = tmp_path / "records"
    shutil.copytree(produced.home / "records", home)
    monkeypatch.setenv("HEYGEM_RECORDS", str(home))
    report = tmp_path / "report.md"
    assert run(app, ["verify", str(produced.result), "--report", str(report)]).exit_code == 0
    lines = [line for line in report.read_text().splitlines() if line.startswith("heygem consent")]
    assert len(lines) == 2
    for line in lines:
        words = line.partition("#")[0].replace('"..."', "complaint").split()[1:]
        assert run(app, words).exit_code == 0
    again = run(app, ["generate", "--video", str(SAMPLES / "hopper.mp4"), "--audio",
                      str(produced.sound), "--out", str(tmp_path / "out"),
                      *produced.again])  # fmt: skip
    assert again.exit_code != 0 and "blocked" in again.output and "complaint" in again.output
    other = run(app, ["generate", "--video", str(SAMPLES / "collins.mp4"), "--audio",
                      str(produced.sound), "--out", str(tmp_path / "out"),
                      *produced.again])  # fmt: skip
    assert "this sound is blocked" in other.output
    assert Ledger().verify() == []
