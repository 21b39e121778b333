"""The whole path on a clip whose mouth is known: learn, draw, track again, compare."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import gape, write_video

from heygem import audio, evaluate
from heygem.errors import InputError
from heygem.evaluate import anchors, curves, held_out, judge, protocol, record
from heygem.lips import Trajectory
from heygem.params import Params

SAMPLES = Path(__file__).parents[1] / "samples"
SHORT = evaluate.EvaluateSettings(max_held_out_s=2, anchors=False)


@pytest.fixture(scope="module")
def person():
    return held_out.learn(SAMPLES / "hopper.mp4", Params().face)


@pytest.fixture(scope="module")
def stage(person):
    return protocol.build_stage(person, audio.load(SAMPLES / "hopper.mp4").samples, SHORT)


def test_the_person_is_learnt_from_the_first_part_only(person):
    times_s = person.avatar.track.times_s
    assert times_s[person.avatar.library.frames].max() < person.split.library_end_s
    assert person.split.start_s - person.split.library_end_s == pytest.approx(1.0)
    assert not (person.split.library(times_s) & person.split.held_out(times_s)).any()


def test_the_real_mouth_is_measured_as_it_was_made(stage):
    with (SAMPLES / "hopper.csv").open() as file:
        truth = np.array([float(line["aperture"]) for line in csv.DictReader(file)])
    assert curves.correlation(stage.real.aperture, truth[stage.frames]) > 0.9
    assert abs(curves.lag_ms(stage.real.aperture, truth[stage.frames], stage.times_s)) < 20


def test_the_truth_drawn_again_beats_a_frozen_mouth(person, stage, faces):
    wanted = person.avatar.displacement(stage.frames)
    settings = Params().renderer
    true = judge.draw(stage, wanted, settings, faces)
    still = judge.draw(stage, anchors.frozen(wanted, len(wanted)), settings, faces)
    good, bad = (judge.against_real(stage, d.mouth) for d in (true, still))
    assert good["aperture_r"].value > 0.9
    assert 0.75 < good["open_ratio"].value < 1.25
    assert bad["open_ratio"].value < 0.3
    assert good["lmd"].value < 0.5 * bad["lmd"].value
    assert judge.leak(stage, still.mouth).value < 0.1
    seen = judge.pictures(stage, true, same_words=True)
    assert seen["changed_outside_px"].value == 0
    assert seen["psnr_db"].value > judge.pictures(stage, still, same_words=True)["psnr_db"].value


class Chewing:
    """Opens and shuts twice a second as long as there is sound."""

    opening_std = 0.04

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        t = np.arange(int(np.ceil(len(samples) / 320))) / 50
        level = float(np.abs(samples).max() > 0)
        return Trajectory(level * (0.06 - 0.06 * np.cos(4 * np.pi * t))[:, None], 50, self.basis)


def test_a_mouth_that_only_chews_is_told_from_one_that_listens(person, tmp_path, monkeypatch):
    model = Chewing(person.avatar.rest.neutral)
    monkeypatch.setattr(protocol.lips.LipsModel, "load", lambda path, **_: model)
    short = write_video(tmp_path / "short.mp4", frames=25)
    params = Params.from_dict({"tracking": {"folder": str(tmp_path / "mlruns")}})
    table = evaluate.evaluate(
        [SAMPLES / "hopper.mp4", short],
        params,
        SHORT,
        others=[SAMPLES / "speech_zh.wav"],
        name="chewing",
    )
    own, foreign = (row for row in table.rows if row.method == "model")
    assert own.measures["aperture_r"].value < 0.5
    assert own.measures["leak"].value < 0.15  # it rests when nothing is said
    assert foreign.audio == "other: speech_zh.wav" and "aperture_r" not in foreign.measures
    assert list(table.skipped) == ["short.mp4"]

    paths = record.save(table, tmp_path / "out", params, SHORT)
    facts = json.loads(paths[-1].read_text())
    learnt = facts["ranges"]["hopper.mp4"]["learnt_from_s"]
    assert learnt[1] == pytest.approx(person.split.library_end_s)
    assert record.log_run(table, tmp_path / "out", params, SHORT)


def test_no_clip_at_all_is_an_error_with_the_reasons(person, tmp_path, monkeypatch):
    model = Chewing(person.avatar.rest.neutral)
    monkeypatch.setattr(protocol.lips.LipsModel, "load", lambda path, **_: model)
    with pytest.raises(InputError, match="nothing.mp4"):
        evaluate.evaluate([tmp_path / "nothing.mp4"], Params(), SHORT)


def test_a_clip_too_short_to_split_says_how_long_it_should_be():
    with pytest.raises(InputError, match=r"5\.0 s.*give a clip"):
        held_out.split_clip(4.99, share=0.5, guard_s=2.0, name="x.mp4")


def test_the_stretch_with_most_speech_is_judged():
    times_s = np.arange(500) / 25
    split = held_out.Split(5.0, 6.0, 20.0)
    cut = protocol.liveliest(split, times_s, (times_s > 12) & (times_s < 16), 4.0)
    assert cut.start_s == pytest.approx(12, abs=0.3) and cut.end_s - cut.start_s == pytest.approx(4)
    assert cut.library_end_s == split.library_end_s
    assert protocol.liveliest(split, times_s, times_s > 12, 30.0) == split
