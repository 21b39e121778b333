"""What a person's own footage teaches, and where it is kept."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
from helpers.media import write_video

from heygem import audio, lips, media, pipeline
from heygem import avatar as avatars
from heygem.avatar.library import MouthLibrary
from heygem.batch import notebooks, runner
from heygem.batch.notebooks import root
from heygem.cli import finetune as command
from heygem.config.params import FaceSettings, Params
from heygem.core import assets
from heygem.core.errors import (
    AssetError,
    Cancelled,
    ConsentError,
    InputError,
    OutputError,
    ParameterError,
)
from heygem.core.files import sha256
from heygem.finetune import adapt as adapting
from heygem.finetune import adapter, bundle, coverage, mouth_library
from heygem.finetune import run as teaching
from heygem.finetune.adapt import FinetuneSettings, adapt
from heygem.finetune.consent import Statement
from heygem.finetune.run import finetune
from heygem.lips.features import extract_features, silent_features
from heygem.provenance import consent
from heygem.provenance.ledger import Ledger
from heygem.training.dataset import Clip, Source

MAIN = "from heygem.cli.main import main; main()"
QUICK = FinetuneSettings(blocks=4)


@pytest.fixture(scope="module")
def base():
    return lips.LipsModel.load()


@pytest.fixture(scope="module")
def heard(base):
    """Features of the samples' speech, some 24 s in three voices, and what the base says."""
    parts = []
    for name in ("speech_en.wav", "speech_zh.wav", "hopper.mp4"):
        samples = audio.load(root() / "samples" / name).samples
        rows = len(samples) // 320
        features = extract_features(samples, rows=rows)
        parts.append((features, base.predict_features(features).coefficients))
    return parts


def speaker(base, heard, change=None, *, noise=0.0):
    """Clips of somebody whose mouth does `change` of what the base would say (or only noise)."""
    rng = np.random.default_rng(3)
    clips = []
    for i, (features, said) in enumerate(heard):
        done = said if change is None else said @ change
        done = done + noise * rng.normal(size=said.shape).astype(np.float32)
        moved = np.einsum("tk,knd->tnd", done, base.basis).astype(np.float32)
        clips.append(
            Clip(
                Source(Path(f"clip{i}.mp4"), "somebody"),
                f"{i}" * 64,
                features,
                np.ones(len(features), np.float32),
                moved,
                np.ones(len(moved), bool),
            )
        )
    return clips


def unlike(base):
    """Somebody who rounds where others open: a map of the coefficients, far from the identity."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(len(base.basis),) * 2))
    return 1.6 * (0.3 * np.eye(len(base.basis)) + 0.7 * turn).astype(np.float32)


def test_an_unlike_speaker_is_learnt(base, heard):
    told = []
    got = adapt(
        base,
        speaker(base, heard, unlike(base), noise=0.1),
        QUICK,
        progress=lambda *what: told.append(what),
        watch=lambda *what: told.append(what),
    )
    assert not got.kept_base
    assert got.after.correlation > got.before.correlation + 0.05
    assert 0.7 < got.after.ratio < 1.3  # opens as far as the person does
    assert len(got.history) == len(adapting.STRENGTHS)
    assert {"hear", "learn", "held_out/correlation"} <= {what[0] for what in told}
    # What it learnt holds for sound it was not shown, too.
    features, said = heard[0]
    rest = [c for c in speaker(base, heard, unlike(base), noise=0.1)][1:]
    rest = adapt(base, rest, QUICK).model.predict_features(features).aperture()
    wanted = said @ unlike(base) @ lips.aperture_direction(base.basis)
    plain = said @ lips.aperture_direction(base.basis)
    assert np.corrcoef(rest, wanted)[0, 1] > np.corrcoef(plain, wanted)[0, 1] + 0.02
    # What was promised for held-out seconds is what the model does.
    for clip, curve in zip(speaker(base, heard, unlike(base), noise=0.1), got.curves, strict=True):
        does = got.model.predict_features(clip.features).aperture()
        assert np.corrcoef(does, curve["after"])[0, 1] > 0.97
    # And digital silence is still a mouth at rest.
    quiet = np.tile(silent_features(), (200, 1)).astype(np.float32)
    assert np.abs(got.model.predict_features(quiet).aperture()).max() < 0.04


def test_somebody_who_hardly_opens_the_mouth_is_not_made_to_mumble(base, heard):
    got = adapt(base, speaker(base, heard, 0.2 * unlike(base), noise=0.02), QUICK)
    assert not got.kept_base
    typical = base.opening_std
    assert got.change.opening_std == pytest.approx(0.7 * typical)
    spread = np.concatenate([c["after"] for c in got.curves]).std()
    assert 0.5 * typical < spread < typical


def test_where_nothing_is_to_be_learnt_the_base_stays(base, heard):
    got = adapt(base, speaker(base, heard, noise=1.0), QUICK)
    assert got.kept_base and got.model is base


def test_a_dubbed_face_is_refused(base, heard):
    dubbed = [
        replace(clip, displacement=np.roll(clip.displacement[::-1], 77, axis=0))
        for clip in speaker(base, heard, noise=0.3)
    ]
    with pytest.raises(InputError, match="do not belong together"):
        adapt(base, dubbed, QUICK)


def test_a_late_picture_is_put_right(base, heard):
    late = []
    for clip in speaker(base, heard, unlike(base), noise=0.1):
        late.append(replace(clip, displacement=np.roll(clip.displacement, 5, axis=0)))
    got = adapt(base, late, QUICK)
    assert all(abs(s.lag_s - 0.1) < 0.03 for s in got.sync)
    assert got.after.correlation > 0.7 and abs(got.after.lag_ms) <= 20


def test_too_little_speech_is_refused(base, heard):
    clips = speaker(base, heard)[:1]
    short = replace(clips[0], valid=np.arange(len(clips[0].valid)) < 200)
    with pytest.raises(InputError, match="too little speech"):
        adapt(base, [short], QUICK)


def test_cancel_stops_and_a_checkpoint_goes_on(base, heard, tmp_path):
    clips = speaker(base, heard, unlike(base))
    cancel = threading.Event()

    def stop(stage, done, total):
        if stage == "learn":
            cancel.set()

    kept = tmp_path / "adapt.npz"
    with pytest.raises(Cancelled):
        adapt(base, clips, QUICK, progress=stop, cancel=cancel, checkpoint=kept)
    assert not kept.exists()
    first = adapt(base, clips, QUICK, checkpoint=kept)
    stages = []
    again = adapt(
        base, clips, QUICK, checkpoint=kept, progress=lambda stage, *_: stages.append(stage)
    )
    assert "learn" not in stages
    assert again.after == first.after
    # Other footage is learnt from anew.
    adapt(base, clips[:2], QUICK, checkpoint=kept, progress=lambda stage, *_: stages.append(stage))
    assert "learn" in stages


def test_an_adapter_belongs_to_its_base(base, heard, tmp_path):
    got = adapt(base, speaker(base, heard, unlike(base)), QUICK)
    path = tmp_path / "adapter.safetensors"
    adapter.save(got.change, path, base_sha256="a" * 64)
    again = adapter.load(path, base, base_sha256="a" * 64)
    features, _ = heard[0]
    one, other = (m.predict_features(features).coefficients for m in (got.model, again))
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert path.stat().st_size < 1e6  # a person is a few thousand numbers
    with pytest.raises(AssetError, match="heygem finetune"):
        adapter.load(path, base, base_sha256="b" * 64)
    path.write_bytes(b"no adapter")
    with pytest.raises(AssetError, match="cannot read"):
        adapter.load(path, base, base_sha256="a" * 64)


# --- the folder ---


@pytest.fixture(scope="module")
def own_place(tmp_path_factory):
    """Caches and records of these tests alone."""
    if any(entry.state != "ok" for entry in assets.inventory()):
        pytest.skip("models are not there: run heygem models pull")
    place = tmp_path_factory.mktemp("finetune")
    (place / "models").symlink_to(assets.model_folder().absolute())
    before = os.environ.get("HEYGEM_HOME")
    os.environ["HEYGEM_HOME"] = str(place)
    yield place
    if before is None:
        del os.environ["HEYGEM_HOME"]
    else:
        os.environ["HEYGEM_HOME"] = before


@pytest.fixture(scope="module")
def footage(own_place):
    return [root() / "samples" / "hopper.mp4"]


OTHERS = Statement("recorded", "P-7", "training films", "2999-12-31", "contract 12")


OTHERS_ASKED = replace(OTHERS, purpose="films")


@pytest.fixture(scope="module")
def taught(own_place, footage):
    return finetune(footage, own_place / "grace.heygem", QUICK, consent=OTHERS)


def test_a_folder_says_what_it_is_and_reads_back(taught, footage):
    assert sorted(p.name for p in taught.path.iterdir()) == sorted(
        [*taught.facts["files"], "avatar.json"]
    )
    avatar, model, facts = bundle.load(taught.path)
    assert facts["sources"][0]["sha256"] == sha256(footage[0]) == avatar.sha256
    assert facts["consent"]["reference"] == "contract 12"
    assert facts["base_sha256"] == sha256(lips.SHIPPED)
    assert facts["held_out"] and facts["before"]["seconds"] > 5
    assert ("adapter.safetensors" in facts["files"]) == (not facts["kept_base"])
    plain = avatars.load(footage[0], FaceSettings())
    assert len(avatar.library.crops) == len(plain.library.crops)
    np.testing.assert_array_equal(avatar.track.points, plain.track.points)
    np.testing.assert_allclose(avatar.library.points, plain.library.points, atol=1e-3)
    assert media.probe(taught.path).video.width == plain.track.width


def test_a_moved_folder_speaks_on_another_machine(taught, tmp_path, monkeypatch):
    moved = tmp_path / "carried.heygem"
    shutil.copytree(taught.path, moved)
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    sound = tmp_path / "short.wav"
    speech_en = audio.load(root() / "samples" / "speech_en.wav").samples[:24000]
    media.write_wav(sound, speech_en, 16000)
    params = Params.from_dict(
        {
            "inputs": {"videos": [str(moved)], "audio": str(sound), "output": str(tmp_path / "o")},
            "media": {"preset": "ultrafast"},
            "mlflow": {"enabled": False},
        }
    )
    (outcome,) = runner.run(params).outcomes
    assert outcome.status == "done", outcome.error
    assert outcome.manifest["finetuned"]["folder"] == "carried.heygem"
    assert outcome.manifest["finetuned"]["adapter"] == taught.facts["files"].get(
        "adapter.safetensors"
    )
    ledger = Ledger(tmp_path / "records" / "ledger.db")
    (given,) = ledger.entries(kind="consent")  # the folder's statement came along
    assert given.body["reference"] == "contract 12"
    (made,) = ledger.entries(kind="made")
    assert made.body["finetuned"]["footage"] == [taught.facts["sources"][0]["sha256"]]
    assert made.body["sources"].get("adapter") == taught.facts["files"].get("adapter.safetensors")
    # Done is done: the folder's content is what counts.
    (again,) = runner.run(params).outcomes
    assert again.status == "skipped"
    # A withdrawal on record weighs more than what the folder says.
    consent.withdraw(ledger, taught.facts["sources"][0]["sha256"], reason="asked to")
    with pytest.raises(ConsentError, match="withdrawn"):
        pipeline.generate(moved, sound, tmp_path / "no.mp4", params)
    assert not (tmp_path / "no.mp4").exists()


def test_a_changed_or_halved_folder_is_refused(taught, tmp_path):
    changed = tmp_path / "changed.heygem"
    shutil.copytree(taught.path, changed)
    (changed / "person.npz").write_bytes(b"something else")
    with pytest.raises(InputError, match="was changed"):
        bundle.load(changed)
    (changed / "person.npz").unlink()
    with pytest.raises(InputError, match="not whole"):
        bundle.load(changed)
    empty = tmp_path / "empty.heygem"
    empty.mkdir()
    with pytest.raises(InputError, match="not a taught avatar"):
        bundle.load(empty)


def test_an_expired_consent_ends_it(taught, tmp_path):
    old = tmp_path / "old.heygem"
    shutil.copytree(taught.path, old)
    facts = json.loads((old / "avatar.json").read_text())
    facts["consent"]["until"] = "2020-01-01"
    (old / "avatar.json").write_text(json.dumps(facts))
    with pytest.raises(ConsentError, match="expired"):
        bundle.person(old).bundle.allow(Ledger(tmp_path / "ledger.db"))


def test_consent_is_asked_for():
    with pytest.raises(ConsentError, match="by what right"):
        Statement("")
    with pytest.raises(ConsentError, match="without who, reference"):
        Statement("recorded", purpose="films", until="2999-01-01")
    with pytest.raises(ParameterError, match="YYYY-MM-DD"):
        Statement("recorded", "P", "films", "soon", "12")


def test_without_an_answer_a_script_is_refused_in_one_line(own_place, footage):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "finetune", str(footage[0]), "--out", "x.heygem"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=own_place,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--consent own" in done.stderr and not (own_place / "x.heygem").exists()


def test_cancel_leaves_nothing_and_a_rerun_goes_on(own_place, footage, taught):
    out, cancel, stages = own_place / "stopped.heygem", threading.Event(), []

    def stop(stage, done, total):
        stages.append(stage)
        if stage == "pictures" or stage == "write":
            cancel.set()

    with pytest.raises(Cancelled):
        finetune(footage, out, QUICK, consent=OTHERS, progress=stop, cancel=cancel)
    assert not out.exists() and not list(own_place.glob(".*stopped*"))
    assert "track" not in stages and "learn" not in stages  # kept from the first time
    assert finetune(footage, out, QUICK, consent=OTHERS).path == out
    assert finetune(footage, out, QUICK, consent=OTHERS).path == out  # and may be made anew


def test_a_cancel_is_noticed_while_something_long_is_worked_at():
    cancel, busy = threading.Event(), threading.Event()
    tell = teaching._Teller(None, cancel)
    threading.Timer(0.2, cancel.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        tell.wait(lambda: busy.wait(20))
    assert time.monotonic() - began < 2
    busy.set()
    with pytest.raises(ZeroDivisionError):
        teaching._Teller(None, None).wait(lambda: 1 / 0)


def test_somebody_at_the_terminal_is_asked(monkeypatch):
    given = iter(["3", "P-7", "films", "2999-12-31", "contract 12"])
    monkeypatch.setattr(command.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(command.typer, "prompt", lambda *_, **__: next(given))
    empty = {"who": "", "purpose": "", "until": "", "reference": ""}
    assert Statement(**command._ask(empty)) == OTHERS_ASKED


def test_what_cannot_teach_is_refused_in_words(own_place, footage, tmp_path):
    own = Statement("own")
    mute = write_video(tmp_path / "mute.mp4")
    with pytest.raises(InputError, match="no sound"):
        finetune([mute], tmp_path / "a.heygem", consent=own)
    with pytest.raises(ParameterError, match="must end in .heygem"):
        finetune(footage, tmp_path / "a.mp4", consent=own)
    (tmp_path / "mine.heygem").mkdir()
    with pytest.raises(OutputError, match="choose another name"):
        finetune(footage, tmp_path / "mine.heygem", consent=own)
    assert not list(tmp_path.glob(".*"))


# --- appearance ---


def test_other_footage_adds_what_is_missing_and_nothing_twice(own_place, footage):
    shown = avatars.load(footage[0], FaceSettings())
    same = mouth_library.grow(shown, [shown])
    assert same.added == 0 and same.own == len(shown.library.crops)
    # Somebody whose shown video never opens the mouth gets the open ones from the other.
    gap = lips.aperture_of(shown.displacement(shown.library.frames))
    few = np.flatnonzero(gap < 0.02)
    poor = MouthLibrary(
        shown.library.frames[few],
        [shown.library.crops[i] for i in few],
        shown.library.corners[few],
        shown.library.points[few],
        shown.library.pose[few],
    )
    grown = mouth_library.grow(replace(shown, library=poor), [shown])
    assert grown.own == len(few) and grown.added > 0
    assert (grown.library.frames[grown.own :] < 0).all()
    assert all(c.shape[2] == 3 for c in grown.library.crops)
    # The new pictures' meshes lie on their mouths as the frames' own do.
    frame = -int(grown.library.frames[-1]) - mouth_library.BEYOND
    mesh = grown.library.points[-1, :, :2] - grown.library.points[-1, :, :2].mean(0)
    own = shown.track.points[frame, :, :2] - shown.track.points[frame, :, :2].mean(0)
    np.testing.assert_allclose(mesh, own, atol=0.5)


def test_coverage_says_what_to_record(own_place, footage):
    shown = avatars.load(footage[0], FaceSettings())
    whole = coverage.measure(shown)
    assert whole.counts["closed"].sum() > 3 and whole.shown.sum() == shown.usable.sum()
    dull = replace(whole, counts={k: v * (k != "rounded") for k, v in whole.counts.items()})
    (line,) = [w for w in dull.words if "rounded" in w]
    assert "'oo'" in line and "straight ahead" in line and "record" in line
    figure = coverage.plot(dull)
    assert len(figure.axes) == 9


def test_the_notebook_teaches_and_shows(own_place, footage, taught, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = Params.from_yaml(root() / "params" / "finetune.yaml").override(
        {
            "inputs.videos": [str(footage[0])],
            "inputs.output": str(tmp_path / "grace.heygem"),
            "mlflow.folder": str(tmp_path / "mlruns"),
        }
    )
    done = notebooks.execute(notebooks.find("12_finetune"), params)
    (item,) = done.record["items"]
    assert item["status"] == "done" and bundle.read(item["output"])["seconds"] > 5
    book = nbformat.read(done.notebook, as_version=4)
    shown = [
        o for c in book.cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})
    ]
    pictures = [o for c in book.cells for o in c.get("outputs", ()) if "data" in o]
    assert len(shown) >= 3 and len(pictures) >= 5
    text = "".join(o.get("text", "") for c in book.cells for o in c.get("outputs", ()))
    assert "not recorded" not in text and (tmp_path / "mlruns" / "mlflow.db").is_file()
