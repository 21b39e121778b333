"""One person, one sound, one labelled video."""

import json
import threading
from fractions import Fraction

import numpy as np
import pytest
from helpers.home import home_with_models
from helpers.media import gape, tone, write_wav

from heygem import audio as sound
from heygem import avatar, media, pipeline
from heygem.config import renamed
from heygem.config.params import Params
from heygem.core.errors import AssetError, Cancelled, InputError, Notice, OutputError
from heygem.lips.av_sync import av_agreement
from heygem.lips.trajectory import Trajectory
from heygem.media.stills import reduced
from heygem.pipeline.models import EncodedAudio

QUICK = {"media": {"crf": 30, "preset": "ultrafast"}, "label": {}}


class Chewing:
    """A lips model whose mouth opens and shuts twice a second, whatever it hears."""

    opening_std = 0.04
    about = {}

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        t = np.arange(int(np.ceil(len(samples) / 320))) / 50
        return Trajectory((0.06 - 0.06 * np.cos(4 * np.pi * t))[:, None], 50, self.basis)


@pytest.fixture(scope="module")
def models(faces, hopper_avatar):
    lips = Chewing(hopper_avatar.rest.neutral)
    return pipeline.Models(params(device="cpu"), lips=lips, faces=faces)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A HEYGEM_HOME that holds only this machine's models."""
    monkeypatch.setenv("HEYGEM_HOME", str(home_with_models(tmp_path / "home")))


@pytest.fixture
def voice(tmp_path):
    """A builder of speech-like sounds: voice(seconds) -> path."""

    def make(seconds):
        t = np.arange(int(seconds * 16000)) / 16000
        buzz = np.sign(np.sin(2 * np.pi * 120 * t)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
        return write_wav(tmp_path / f"{seconds}.wav", (0.2 * buzz).astype(np.float32))

    return make


def params(**sections):
    return Params.from_dict(QUICK | sections)


def read(path):
    with media.VideoReader(path) as reader:
        frames = list(reader)
    return [f.image for f in frames], np.array([f.time_s for f in frames])


@pytest.mark.slow
def test_a_shorter_sound_ends_the_video(talking, voice, models, tmp_path):
    out = tmp_path / "a.mp4"
    result = pipeline.generate(talking[0], voice(1.1), out, params(), models=models)
    info = media.probe(out)
    assert result.frames == 28  # ceil(1.1 * 25)
    assert abs(info.video.duration_s - 1.1) <= 1 / 25
    assert abs(info.audio.duration_s - 1.1) <= 1 / 25
    assert result.path == out and result.skipped_frames == {}
    assert set(result.timings) >= {"listen_s", "track_s", "render_s", "seconds_per_second"}
    steps = ("decode", "render", "paste", "label", "encode", "codec_threads")
    each_ms = [result.timings[f"{name}_cpu_ms"] for name in steps]
    assert sum(each_ms) == pytest.approx(result.timings["frame_cpu_ms"], abs=0.01)
    assert min(each_ms[:-1]) > 0


@pytest.mark.slow
def test_a_longer_sound_plays_the_video_back_and_forth(talking, voice, models, tmp_path):
    person = avatar.load(talking[0], params().face, backend=models.faces)
    line = pipeline.build_timeline(person, 5.0, params().media)
    turn = line.order[36:44].tolist()
    assert turn == [36, 37, 38, 39, 38, 37, 36, 35]
    assert line.order[76:81].tolist() == [2, 1, 0, 1, 2]
    assert np.allclose(np.diff(line.times_s), 1 / 25)
    assert len(line) == 125
    out = tmp_path / "long.mp4"
    result = pipeline.generate(talking[0], voice(4.0), out, params(), models=models)
    assert result.frames == 100
    assert abs(media.probe(out).video.duration_s - 4.0) <= 1 / 25


@pytest.mark.slow
@pytest.mark.parametrize("extend, tail", [("loop", [38, 39, 0, 1]), ("freeze", [38, 39, 39, 39])])
def test_other_ways_to_go_on(talking, models, extend, tail):
    person = avatar.load(talking[0], params().face, backend=models.faces)
    line = pipeline.build_timeline(person, 2.0, params(media={"extend": extend}).media)
    assert line.order[38:42].tolist() == tail and len(line) == 50


@pytest.mark.slow
def test_the_rest_of_the_video_can_be_kept(talking, voice, models, tmp_path):
    settings = params(media={"tail": "keep", "crf": 30, "preset": "ultrafast"})
    result = pipeline.generate(talking[0], voice(1.0), tmp_path / "k.mp4", settings, models=models)
    assert result.frames == 40 and result.skipped_frames == {"AFTER_AUDIO": 15}


@pytest.mark.slow
def test_frames_keep_their_own_times(hopper, voice, models, tmp_path):
    times_s = np.array([0, 1, 3, 4, 5, 8, 9, 12, 13, 15]) / 30
    path = tmp_path / "vfr.mp4"
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=512, height=600, rate=30
    ) as writer:
        for t in times_s:
            writer.write(hopper, float(t))
    out = tmp_path / "out.mp4"
    pipeline.generate(path, voice(0.5), out, params(), models=models)
    assert np.allclose(read(out)[1], times_s[times_s < 0.5], atol=1e-3)


@pytest.mark.slow
def test_frames_come_in_any_order(talking, models, monkeypatch):
    monkeypatch.setattr("heygem.avatar.timeline.BACKWARD_BYTES", 0)  # eight frames at once
    person = avatar.load(talking[0], params().face, backend=models.faces)
    images, _ = read(talking[0])
    order = np.array([0, 1, 2, 3, 2, 1, 0, 1, 2, 2, 2, *range(39, 11, -1)])
    got = list(pipeline.frames_in_order(person, order))
    assert len(got) == len(order)
    assert all(np.array_equal(images[i], image) for i, image in zip(order, got, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("still_motion", [0.0, 1.0])
def test_a_still_portrait_speaks(hopper_still, voice, models, tmp_path, still_motion):
    out = tmp_path / "still.mp4"
    media_settings = {"crf": 16, "still_motion": still_motion}
    settings = params(media=media_settings, lips={"silence_gate": False})
    result = pipeline.generate(hopper_still, voice(1.0), out, settings, models=models)
    images, times_s = read(out)
    assert result.frames == len(images) == 25 and np.allclose(np.diff(times_s), 0.04)
    mouths = np.stack([i[285:345, 220:320] for i in images]).astype(float)
    assert mouths.std(0).mean() > 1.0  # it moves,
    cap = np.stack([i[80:140, 200:320] for i in images]).astype(float)
    if still_motion:
        assert cap.std(0).mean() > 2.0  # and so does the head,
    else:
        assert cap.std(0).mean() < 0.3 * mouths.std(0).mean()  # and only it
    wall = np.stack([i[560:, 256:] for i in images]).astype(float)
    assert wall.std(0).mean() < 0.3 * mouths.std(0).mean()


@pytest.mark.slow
def test_frames_without_a_face_pass_and_are_counted(hopper, voice, models, tmp_path):
    path = tmp_path / "gap.mp4"
    nothing = np.full_like(hopper, 120)
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=512, height=600, rate=25, crf=12
    ) as writer:
        for k in range(25):
            writer.write(nothing if 10 <= k < 15 else hopper, k / 25)
    out = tmp_path / "out.mp4"
    result = pipeline.generate(path, voice(1.0), out, params(), models=models)
    assert result.skipped_frames["NO_FACE"] == 5 and result.frames == 25
    assert any("no face" in w for w in result.warnings)
    images, _ = read(out)
    below_label = images[12][150:]
    # The watermark and the codec change single pixels by up to 15; a mouth there would be dark.
    assert np.abs(below_label.astype(int) - 120).max() < 30


@pytest.mark.slow
def test_the_result_says_that_it_is_ai_made(talking, voice, models, tmp_path):
    out = tmp_path / "l.mp4"
    result = pipeline.generate(talking[0], voice(0.5), out, params(), models=models)
    tag = json.loads(media.probe(out).tags["AIGC"])
    assert tag["Label"] == "1" and tag["ProduceID"] == result.manifest["label"]["produce_id"]
    assert set(result.manifest["label"]["layers"].values()) == {"written"}
    x0, y0, x1, y1 = result.manifest["label"]["box"]
    source, labelled = read(talking[0])[0][5], read(out)[0][5]
    change = np.abs(labelled[y0:y1, x0:x1].astype(int) - source[y0:y1, x0:x1])
    assert change.mean() > 20


@pytest.mark.slow
def test_cancel_stops_and_leaves_nothing(talking, voice, models, tmp_path):
    cancel = threading.Event()
    folder = tmp_path / "made"
    folder.mkdir()

    def progress(stage, done, total):
        if stage == "render" and done == 3:
            cancel.set()

    with pytest.raises(Cancelled):
        pipeline.generate(
            talking[0],
            voice(1.5),
            folder / "c.mp4",
            params(),
            models=models,
            progress=progress,
            cancel=cancel,
        )
    assert list(folder.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name in ("decode", "encode")]


@pytest.mark.slow
def test_a_failure_in_the_middle_leaves_the_old_result(talking, voice, models, tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    out = folder / "o.mp4"
    out.write_bytes(b"yesterday's")

    def progress(stage, done, total):
        if stage == "render" and done == 4:
            raise RuntimeError("power cut")

    settings = params(inputs={"overwrite": True})
    with pytest.raises(RuntimeError):
        pipeline.generate(talking[0], voice(1.0), out, settings, models=models, progress=progress)
    assert [p.name for p in folder.iterdir()] == ["o.mp4"] and out.read_bytes() == b"yesterday's"


@pytest.mark.slow
def test_a_folder_that_is_not_there(talking, voice, models, tmp_path):
    with pytest.raises(OutputError):
        pipeline.generate(
            talking[0], voice(0.5), tmp_path / "no" / "x.mp4", params(), models=models
        )


@pytest.mark.slow
def test_silence_is_no_error_and_the_mouth_stays_shut(talking, models, empty_wav, tmp_path):
    out = tmp_path / "s.mp4"
    result = pipeline.generate(talking[0], empty_wav, out, params(), models=models)
    assert np.abs(result.trajectory.aperture()).max() < 1e-6
    assert result.warnings


@pytest.mark.slow
def test_a_sound_that_is_too_short(talking, models, short_wav, tmp_path):
    with pytest.raises(InputError, match="0.05|short"):
        pipeline.generate(talking[0], short_wav, tmp_path / "x.mp4", params(), models=models)


@pytest.mark.slow
def test_rate_of_film_is_kept(hopper, voice, models, tmp_path):
    path = tmp_path / "film.mp4"
    rate = Fraction(24000, 1001)
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=512, height=600, rate=rate, preset="ultrafast"
    ) as writer:
        for k in range(24):
            writer.write(hopper, float(k / rate))
    out = tmp_path / "o.mp4"
    pipeline.generate(path, voice(0.9), out, params(), models=models)
    assert media.probe(out).video.rate == rate


@pytest.mark.slow
def test_the_sound_is_the_sources(talking, models, tmp_path):
    track = tone(1.0, rate_hz=44100, channels=2)
    path = write_wav(tmp_path / "t.wav", track.samples, rate_hz=44100)
    out = tmp_path / "o.mp4"
    pipeline.generate(talking[0], path, out, params(), models=models)
    info = media.probe(out).audio
    assert (info.rate_hz, info.channels) == (44100, 2)
    result_samples = media.read_audio(out).samples[4410:39690, 0]
    assert np.corrcoef(result_samples, track.samples[4410:39690, 0])[0, 1] > 0.99


@pytest.mark.slow
def test_the_second_engine_draws_with_a_brought_checkpoint(talking, voice, models, tmp_path):
    import torch

    from heygem.rendering.wav2lip import Wav2Lip

    torch.manual_seed(0)
    checkpoint = tmp_path / "wav2lip.pth"
    torch.save({"state_dict": Wav2Lip().state_dict()}, checkpoint)
    settings = params(engine="wav2lip", checkpoint=str(checkpoint))
    out = tmp_path / "w.mp4"
    result = pipeline.generate(talking[0], voice(0.4), out, settings, models=models)
    frame, source = read(out)[0][5].astype(int), read(talking[0])[0][5].astype(int)
    change = np.abs(frame - source).mean(-1)
    assert result.skipped_frames == {}
    mouth, eyes = change[290:350, 220:320].mean(), change[150:230, 190:350].mean()
    assert mouth > 3 * eyes  # an untrained network's mouth below her own eyes


@pytest.mark.slow
def test_the_second_engine_without_a_checkpoint(talking, voice, models, tmp_path):
    with pytest.raises(AssetError, match="heygem models import wav2lip"):
        pipeline.generate(
            talking[0], voice(0.4), tmp_path / "w.mp4", params(engine="wav2lip"), models=models
        )


@pytest.mark.parametrize("late_ms", [-120, 0, 80])
def test_a_late_mouth_is_measured_as_late(models, tmp_path, late_ms):
    seconds = np.arange(8 * 16000) / 16000
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * (3 * seconds + 0.4 * np.sin(2 * seconds)))
    wave = (0.2 * syllables * np.sin(2 * np.pi * 180 * seconds)).astype(np.float32)
    speech = sound.load(write_wav(tmp_path / "s.wav", wave))
    t = np.arange(400) / 50 - late_ms / 1000
    gap = 0.5 - 0.5 * np.cos(2 * np.pi * (3 * t + 0.4 * np.sin(2 * t)))
    motion = Trajectory((0.1 * gap)[:, None].astype(np.float32), 50, models.lips.basis)
    encoded = EncodedAudio(speech, np.ones(801, np.float32), motion, [])
    measures = av_agreement(motion, encoded)
    assert measures["av_offset_ms"] == pytest.approx(late_ms, abs=25)
    assert measures["av_corr"] > 0.7


def test_passed_through_is_accepted_with_a_notice(monkeypatch, tmp_path):
    monkeypatch.setattr(renamed, "_shown", set())
    result = pipeline.Result(tmp_path / "a.mp4", {}, 1.0, 25, {"NO_FACE": 5}, {}, [], None)
    with pytest.warns(Notice, match="`Result.passed_through` is now called") as recorded:
        assert result.passed_through == result.passed_through == {"NO_FACE": 5}
    assert len(recorded) == 1


@pytest.mark.slow
def test_all_but_the_mouth_is_the_decoded_picture(talking, voice, models, tmp_path):
    """Outside the drawn mouth, and the label's box, every plane is what the decoder made."""
    out = tmp_path / "o.mp4"
    settings = params(media={"crf": 0, "preset": "ultrafast"}, label={"watermark": False})
    result = pipeline.generate(
        talking[0], voice(0.5), out, settings, models=models, stills=(2, 200)
    )
    x0, y0, x1, y1 = result.manifest["label"]["box"]
    person = avatar.load(talking[0], settings.face, backend=models.faces)
    mouth = person.track.points[:, :, :2]
    coding = media.probe(talking[0]).video.coding
    with media.VideoReader(talking[0]) as before, media.VideoReader(out) as after:
        pairs = list(zip(before.yuv_images(coding), after.yuv_images(coding), strict=False))
    assert len(pairs) > 5
    for still in result.stills:  # kept from the frames that passed by, labels included
        shown = pairs[round(still.time_s * float(media.probe(out).video.rate))][1].rgb()
        assert np.abs(still.image.astype(int) - reduced(shown, 200)).max() <= 2
    assert len(result.stills) == 2
    drawn = 0
    for k, (source, written) in enumerate(pairs):
        outside = np.ones(source.y.shape, bool)
        outside[y0:y1, x0:x1] = False
        left, top = mouth[k].min(0).astype(int) - 60
        right, bottom = mouth[k].max(0).astype(int) + 60
        outside[max(top, 0) : bottom, max(left, 0) : right] = False
        assert outside.mean() > 0.2
        assert (source.y == written.y)[outside].all()
        coarse = outside.reshape(outside.shape[0] // 2, 2, -1, 2).all((1, 3))
        assert (source.u == written.u)[coarse].all() and (source.v == written.v)[coarse].all()
        drawn += not (source.y == written.y)[max(top, 0) : bottom, max(left, 0) : right].all()
    assert drawn > 5
