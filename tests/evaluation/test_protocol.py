"""The whole path on a clip whose mouth is known: learn, draw, track again, compare."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.media import gape, tone, write_video

from heygem import audio, evaluation, media
from heygem.cli import evaluate as command
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError
from heygem.evaluation import (
    av_offset,
    baselines,
    cache,
    finetune_curve,
    motion_metrics,
    protocol,
    record,
    rerender,
)
from heygem.evaluation import split as held_out
from heygem.evaluation.clips import Clip, gather
from heygem.evaluation.visuals import LEAST_PX
from heygem.lips.trajectory import Trajectory
from heygem.training.dataset import Clip as Footage
from heygem.training.dataset import Source

SAMPLES = Path(__file__).parents[2] / "samples"
SHORT = evaluation.EvaluateSettings(max_held_out_s=2, anchors=False)


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
    assert motion_metrics.correlation(stage.real.aperture, truth[stage.frames]) > 0.9
    assert abs(motion_metrics.lag_ms(stage.real.aperture, truth[stage.frames], stage.times_s)) < 20


def test_the_truth_drawn_again_beats_a_frozen_mouth(person, stage, faces):
    wanted = person.avatar.displacement(stage.frames)
    settings = Params().renderer
    true = rerender.draw(stage, wanted, settings, faces)
    still = rerender.draw(stage, baselines.frozen(wanted, len(wanted)), settings, faces)
    good, bad = (rerender.against_real(stage, d.mouth) for d in (true, still))
    assert good["aperture_r"].value > 0.9
    assert 0.75 < good["open_ratio"].value < 1.25
    assert bad["open_ratio"].value < 0.3
    assert good["lmd"].value < 0.5 * bad["lmd"].value
    assert rerender.leak(stage, still.mouth).value < 0.1
    seen = rerender.pictures(stage, true, same_words=True)
    assert seen["changed_outside_px"].value == 0
    assert seen["psnr_db"].value > rerender.pictures(stage, still, same_words=True)["psnr_db"].value


class Chewing:
    """Opens and shuts twice a second as long as there is sound."""

    opening_std, about = 0.04, {}

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        return self.chewed(int(np.ceil(len(samples) / 320)), float(np.abs(samples).max() > 0))

    def predict_features(self, heard):
        return self.chewed(len(heard) // 2, 1.0)

    def chewed(self, rows, level):
        t = np.arange(rows) / 50
        return Trajectory(level * (0.06 - 0.06 * np.cos(4 * np.pi * t))[:, None], 50, self.basis)


def test_a_mouth_that_only_chews_is_told_from_one_that_listens(person, tmp_path, monkeypatch):
    model = Chewing(person.avatar.rest.neutral)
    monkeypatch.setattr(protocol.lips.LipsModel, "load", lambda path, **_: model)
    short = write_video(tmp_path / "short.mp4", frames=25)
    params = Params.from_dict({"mlflow": {"folder": str(tmp_path / "mlruns")}})
    monkeypatch.setattr(cache, "code_version", lambda: "of today")  # a commit starts anew
    asked = dict(others=[SAMPLES / "speech_zh.wav"], name="chewing", keep=tmp_path / "clips")
    clips = [SAMPLES / "hopper.mp4", short]
    table = evaluation.evaluate(clips, params, SHORT, look=tmp_path / "look", **asked)
    own, foreign = (row for row in table.rows if row.method == "model")
    assert own.measures["aperture_r"].value < 0.5
    assert own.measures["leak"].value < 0.15  # it rests when nothing is said
    assert foreign.audio == "other: speech_zh.wav" and "aperture_r" not in foreign.measures
    assert list(table.skipped) == ["short.mp4"]

    paths = record.save(table, tmp_path / "out", params, SHORT)
    facts = json.loads(paths[-1].read_text())
    learnt = facts["ranges"]["hopper.mp4"]["learnt_from_s"]
    assert learnt[1] == pytest.approx(person.split.library_end_s)
    clip = facts["clips"]["hopper.mp4"]
    assert len(clip["sha256"]) == len(facts["model_sha256"]) == 64
    assert clip["learnt_from_frames"][1] + 25 <= clip["judged_on_frames"][0]
    assert record.log_run(table, tmp_path / "out", params, SHORT)

    sheet, film = sorted((tmp_path / "look").iterdir(), reverse=True)
    assert cv2.imread(str(sheet)).shape[1] > 500
    info = media.probe(film)
    # The real mouth and the drawn one, side by side, with the sound.
    assert info.audio is not None and info.video.width > 2 * LEAST_PX - 2
    assert info.video.duration_s == pytest.approx(2, abs=0.2)

    # Started again, nothing is drawn twice.
    monkeypatch.setattr(rerender, "draw", None)
    again = evaluation.evaluate(clips, params, SHORT, **asked)
    assert again.to_markdown() == table.to_markdown()


def test_no_clip_at_all_is_an_error_with_the_reasons(person, tmp_path, monkeypatch):
    model = Chewing(person.avatar.rest.neutral)
    monkeypatch.setattr(protocol.lips.LipsModel, "load", lambda path, **_: model)
    with pytest.raises(InputError, match="nothing.mp4"):
        evaluation.evaluate([tmp_path / "nothing.mp4"], Params(), SHORT)


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


# --- what is judged --------------------------------------------------------------------------


def manifest(folder, *rows):
    lines = ["file,speaker,split,sync", *(",".join(row) for row in rows)]
    (folder / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_short_clips_of_a_person_are_joined_and_split_where_the_manifest_says(tmp_path):
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", frames=25, audio=tone(1.0))
    (tmp_path / "c.align").write_text("0 12500 bin\n12500 25000 blue\n")
    rows = (
        ("c.mp4", "anna", "dev", "ok"),
        ("a.mp4", "anna", "train", ""),
        ("b.mp4", "ben", "train", ""),
    )
    (joined,) = gather([manifest(tmp_path, *rows)], tmp_path / "out")
    assert (joined.speaker, joined.sync) == ("anna", "ok")
    assert [part.name for part in joined.parts] == ["a.mp4", "c.mp4"]
    assert joined.boundary_s == pytest.approx(1.0)
    assert joined.words[0].start_s == pytest.approx(1.0)
    with media.VideoReader(joined.path) as reader:
        seen = list(reader)
    with media.VideoReader(tmp_path / "c.mp4") as reader:
        true = list(reader)
    assert len(seen) == 50 and np.array_equal(seen[25].image, true[0].image)
    assert seen[-1].time_s == pytest.approx(49 / 25)


def test_a_folder_without_a_manifest_is_judged_whole(tmp_path):
    (tmp_path / "anna").mkdir()
    write_video(tmp_path / "anna" / "long.mp4", frames=25 * 11, audio=tone(11.0))
    (clip,) = gather([tmp_path], tmp_path / "out")
    assert (clip.speaker, clip.boundary_s, clip.more) == ("anna", None, ())
    assert gather([clip], tmp_path) == [clip]
    assert Clip.of(clip.path).speaker == "anna"


# --- curves ----------------------------------------------------------------------------------


class Hears:
    """Says what the first band of the sound says."""

    opening_std, about = 0.04, {}

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict_features(self, heard):
        return Trajectory(heard[::2, :1].copy(), 50, self.basis)


def footage(person, seconds, *, late_rows=0, seed=0):
    """A clip whose mouth follows its sound `late_rows` of 20 ms later."""
    rng = np.random.default_rng(seed)
    gap = np.convolve(rng.normal(size=int(seconds * 50) + 40), np.hanning(9), "same") * 0.02
    gap = gap.astype(np.float32)
    rows = int(seconds * 50)
    heard = np.zeros((2 * rows, 3), np.float32)
    heard[:, 0] = np.repeat(gap[20 : 20 + rows], 2)
    moved = gape(gap[20 - late_rows : 20 - late_rows + rows], person.avatar.rest.neutral)
    valid = np.ones(rows, bool)
    return Footage(Source(Path("x.mp4"), "x"), "", heard, valid.repeat(2), moved, valid)


@pytest.mark.parametrize("late_rows", [-3, 0, 5])
def test_a_files_own_lag_is_found_and_put_right(person, late_rows):
    clip = footage(person, 20, late_rows=late_rows)
    model = Hears(person.avatar.rest.neutral)
    lag = av_offset.own_lag(clip, model)
    assert lag.known and lag.lag_s == pytest.approx(0.02 * late_rows, abs=0.006)
    put_right = finetune_curve.judge(model, clip, person, lag_s=lag.lag_s)
    assert put_right["own_r"].value > 0.97
    assert abs(put_right["own_lag_ms"].value) < 6
    if late_rows:
        assert put_right["aperture_r"].value < 0.8


def test_sound_of_another_has_no_lag(person):
    clip, other = footage(person, 20), footage(person, 20, seed=1)
    stolen = Footage(clip.source, "", other.heard, other.voice, clip.moved, clip.valid)
    lag = av_offset.own_lag(stolen, Hears(person.avatar.rest.neutral))
    assert not lag.known and lag.lag_s == 0 and lag.verdict == "off"


def test_amounts_of_footage_are_nested_and_end_before_what_is_judged(person, monkeypatch):
    adapt = pytest.importorskip("heygem.finetune.adapt")

    given = []

    def learn(model, clips, *_, **__):
        given.append(clips)
        return adapt.Adapted(model, False, None, None)

    monkeypatch.setattr(adapt, "adapt", learn)
    clips = [footage(person, 12), footage(person, 30, seed=1)]
    model = Hears(person.avatar.rest.neutral)
    points = finetune_curve.curve(
        clips, footage(person, 8, seed=2), person, model, [10, 30, 60], name="x"
    )
    assert [point.asked_s for point, _ in points] == [0, 10, 30, 42]
    assert [round(point.seconds) for point, _ in points] == [0, 10, 30, 42]
    assert [len(part) for part in given] == [1, 2, 2]
    assert np.array_equal(given[1][0].heard, clips[0].heard)
    assert points[0][0].kept_base and not points[1][0].kept_base
    assert points[0][0].measures["own_r"].windows == 4


@pytest.mark.parametrize("text", ["x", "15,-3", "0"])
def test_amounts_that_are_no_seconds_are_refused(text):
    with pytest.raises(ParameterError, match="15,30,60"):
        command._seconds(text)


def test_amounts_are_read():
    assert command._seconds("") == ()
    assert command._seconds("15, 30,60") == (15.0, 30.0, 60.0)
