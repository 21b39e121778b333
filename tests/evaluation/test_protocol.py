"""The whole protocol on a clip whose mouth is known: fit, render, track again, compare."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers.media import gape, write_video
from helpers.wav2lip import write_random_checkpoint

from heygem import evaluation, media
from heygem.audio import RATE_HZ
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError
from heygem.core.files import hash_input, sha256
from heygem.evaluation import (
    EvaluateSettings,
    baselines,
    cache,
    protocol,
    record,
    rerender,
    table,
)
from heygem.evaluation.clips import Clip
from heygem.evaluation.methods import SILENT, ClipEvaluation
from heygem.evaluation.visuals import MIN_WIDTH_PX
from heygem.lips.motion import RecordedMotion
from heygem.lips.trajectory import Trajectory
from heygem.provenance import containers, keys, verify
from heygem.provenance.ledger import Ledger
from heygem.rendering.warp.renderer import WarpRenderer

SAMPLES = Path(__file__).parents[2] / "samples"
SHORT = EvaluateSettings(max_held_out_s=2, baselines=False)

pytestmark = pytest.mark.slow


def test_the_oracle_motion_beats_a_static_mouth(person, hopper_test_clip, faces):
    clip = hopper_test_clip
    motion = person.avatar.displacement(clip.frames)
    renderer, silence = WarpRenderer(person.avatar, Params().renderer), np.zeros(0, np.float32)
    oracle, static = (
        rerender.render_clip(clip, RecordedMotion(recorded), silence, renderer, faces)
        for recorded in (motion, baselines.static_mouth(motion, len(motion)))
    )
    good, bad = (rerender.compare_with_real(clip, d.mouth) for d in (oracle, static))
    assert good["aperture_corr"].value > 0.9
    assert 0.75 < good["amplitude_ratio"].value < 1.25
    assert bad["amplitude_ratio"].value < 0.3
    assert good["lmd"].value < 0.5 * bad["lmd"].value
    assert rerender.silence_leakage(clip, static.mouth).value < 0.1
    images = rerender.image_measures(clip, oracle, same_words=True)
    static_images = rerender.image_measures(clip, static, same_words=True)
    assert images["changed_outside_px"].value == 0
    assert images["psnr_db"].value > static_images["psnr_db"].value
    assert "psnr_db" not in rerender.image_measures(clip, oracle, same_words=False)


class Chewing:
    """A model that opens and closes twice a second as long as there is any audio."""

    opening_std, about, embedding = 0.04, {}, None

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        return self.chew(int(np.ceil(len(samples) / 320)), float(np.abs(samples).max() > 0))

    def predict_features(self, features):
        return self.chew(len(features) // 2, 1.0)

    def chew(self, rows, level):
        t = np.arange(rows) / 50
        return Trajectory(level * (0.06 - 0.06 * np.cos(4 * np.pi * t))[:, None], 50, self.basis)


@pytest.fixture
def chewing(person, monkeypatch, tmp_path):
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    model = Chewing(person.avatar.rest.neutral)
    monkeypatch.setattr(protocol.lips.LipsModel, "load", lambda path, **_: model)
    fit = protocol.fit_person

    def fit_once(path, *options, **more):  # the sample person is fitted already
        return person if path == person.avatar.path else fit(path, *options, **more)

    monkeypatch.setattr(protocol, "fit_person", fit_once)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_the_leakage_of_a_motionless_mouth_is_told_apart(person, hopper_test_clip, faces, level):
    """A head that moves under a motionless mouth has some: its pose, and the tracker."""

    class Restless(Chewing):
        def predict(self, samples):
            return self.chew(int(np.ceil(len(samples) / 320)), level)

    params = Params().override({"lips.silence_gate": False})
    clip = Clip(person.avatar.path, "hopper")
    models = SimpleNamespace(lips=Restless(person.avatar.rest.neutral), faces=faces, device="cpu")
    samples = np.zeros(int((hopper_test_clip.times_s[-1] + 1) * RATE_HZ), np.float32)
    one = ClipEvaluation(clip, hopper_test_clip, samples, models, params, None)
    measures = one._measure_silence()
    leakage, floor = (measures[key].value for key in SILENT)
    assert 0 < floor < 0.1
    assert leakage == floor if level == 0 else leakage > 3 * floor


@pytest.mark.usefixtures("chewing")
def test_a_mouth_that_only_chews_is_told_from_one_that_follows_the_audio(
    person, tmp_path, monkeypatch
):
    short = write_video(tmp_path / "short.mp4", frames=25)
    params = Params.from_dict({"mlflow": {"folder": str(tmp_path / "mlruns")}})
    monkeypatch.setattr(cache, "commit", lambda: "of today")  # another commit would start anew
    options = {
        "cross_audio": [SAMPLES / "speech_zh.wav"],
        "name": "chewing",
        "cache_dir": tmp_path / "clips",
    }
    clips = [SAMPLES / "hopper.mp4", short]
    visuals = tmp_path / "visuals"
    results = evaluation.evaluate(clips, params, SHORT, visuals_dir=visuals, **options)
    own, cross = (row for row in results.rows if row.method == "model")
    assert own.measures["aperture_corr"].value < 0.5
    assert own.measures["silence_leakage"].value < 0.15  # it rests in silence
    floor = own.measures["leakage_floor"].value  # the head's pose and the tracker
    assert own.measures["silence_leakage"].value == floor > 0
    assert cross.audio == "cross: speech_zh.wav" and "aperture_corr" not in cross.measures
    assert list(results.skipped) == ["short.mp4"]

    paths = record.save(results, tmp_path / "out", params, SHORT)
    facts = json.loads(paths[-1].read_text())
    library_s = facts["ranges"]["hopper.mp4"]["library_s"]
    assert library_s[1] == pytest.approx(person.split.library_end_s)
    clip = facts["clips"]["hopper.mp4"]
    assert len(clip["sha256"]) == len(facts["model_sha256"]) == 64
    assert clip["library_frames"][1] + 25 <= clip["held_out_frames"][0]
    assert record.log_run(results, tmp_path / "out", params, SHORT)

    sheet, video = sorted(visuals.iterdir(), reverse=True)
    assert cv2.imread(str(sheet)).shape[1] > 500
    info = media.probe(video)
    # The real mouth and the rendered one, side by side, with the audio.
    assert info.audio is not None and info.video.width > 2 * MIN_WIDTH_PX - 2
    assert info.video.duration_s == pytest.approx(2, abs=0.2)

    # Both are labelled, and in the ledger.
    own_keys = keys.load()
    layers = verify.verify_file(video, keys=own_keys, search=False).layers
    assert {layer.verdict for layer in layers.values()} == {"compliant"}
    (row,) = Ledger(keys=own_keys).entries(kind="made")
    assert row.subject == hash_input(video) and row.body["sheet"] == sha256(sheet)
    assert len(containers.read_tags(sheet)) == 1
    assert verify.verify_file(sheet, keys=own_keys).verdict == "compliant"

    # Started again, nothing is rendered twice.
    monkeypatch.setattr(rerender, "render_clip", None)
    again = evaluation.evaluate(clips, params, SHORT, **options)
    assert table.to_markdown(again) == table.to_markdown(results)


@pytest.mark.usefixtures("chewing")
@pytest.mark.parametrize("kept_base", [False, True])
def test_the_fine_tuned_model_has_a_row_of_its_own(person, monkeypatch, kept_base):
    adapt = pytest.importorskip("heygem.finetune.adapt")
    static = Chewing(person.avatar.rest.neutral)
    static.chew = lambda rows, level: Trajectory(np.zeros((rows, 1)), 50, static.basis)

    def fake_adapt(model, clips, *_, **__):
        return adapt.Adaptation(model if kept_base else static, kept_base, None, None)

    monkeypatch.setattr(adapt, "adapt", fake_adapt)
    settings = EvaluateSettings(max_held_out_s=2, baselines=False, finetune_seconds=(2,))
    params = Params.from_dict({"mlflow": {"enabled": False}})
    results = evaluation.evaluate([SAMPLES / "hopper.mp4"], params, settings)
    means, points = results.means(), results.points
    assert [point.requested_s for point in points] == [0, 2]
    assert results.facts["hopper.mp4"]["finetune_rendered_s"] == pytest.approx(2, abs=0.05)
    base, tuned = means["model"], means["model, fine-tuned"]
    if kept_base:
        values = {key: measure.value for key, measure in base.items() if key not in SILENT}
        assert {key: measure.value for key, measure in tuned.items()} == values
    else:
        assert tuned["amplitude_ratio"].value < 0.3 < base["amplitude_ratio"].value


@pytest.mark.usefixtures("chewing")
def test_the_chosen_engine_draws_the_models_row(tmp_path):
    settings = {"mlflow": {"enabled": False}, "device": "cpu"}
    wav2lip = {"engine": "wav2lip", "checkpoint": str(write_random_checkpoint(tmp_path))}
    own, other = (
        evaluation.evaluate([SAMPLES / "hopper.mp4"], Params.from_dict(params), SHORT)
        for params in (settings, settings | wav2lip)
    )
    assert other.model == "wav2lip wav2lip"
    # Random weights paint noise over the mouth: nothing like the chewing model's picture.
    assert other.means()["model"]["psnr_db"].value < own.means()["model"]["psnr_db"].value - 3
    with pytest.raises(ParameterError, match="finetune_seconds has no effect.*wav2lip"):
        evaluation.evaluate(
            [SAMPLES / "hopper.mp4"],
            Params.from_dict(settings | wav2lip),
            EvaluateSettings(finetune_seconds=(2,)),
        )


@pytest.mark.usefixtures("chewing")
def test_no_clip_at_all_is_an_error_with_the_reasons(tmp_path):
    with pytest.raises(InputError, match="nothing.mp4"):
        evaluation.evaluate([tmp_path / "nothing.mp4"], Params(), SHORT)


def test_a_report_speaker_of_whom_there_is_no_clip_is_an_error():
    """Otherwise a slip in a name would report the person with those on whom things were chosen."""
    settings = EvaluateSettings(report_speakers=("hoper",))
    with pytest.raises(ParameterError, match="hoper.*samples"):
        evaluation.evaluate([SAMPLES / "hopper.mp4"], Params(), settings)
