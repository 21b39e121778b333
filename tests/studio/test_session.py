"""One avatar and one audio file in memory, rendered span by span."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers.studio import GATE_OFF
from helpers.wav2lip import write_random_checkpoint

from heygem import media
from heygem.config.params import Params
from heygem.core.errors import Cancelled, ConsentError, InputError
from heygem.core.files import hash_input
from heygem.face import topology as topo
from heygem.provenance import consent, keys, verify
from heygem.provenance.ledger import Ledger
from heygem.studio.downscale import downscale_image, preview_px
from heygem.studio.preview_label import PREVIEW_TEXT
from heygem.studio.session import Session
from heygem.studio.snapshots import Snapshots

pytestmark = pytest.mark.usefixtures("isolated_home")


@pytest.mark.slow
def test_curves_follow_the_controls(session):
    louder = GATE_OFF.override({"lips.openness_gain": 2.0, "lips.closure": 0.0}).lips
    curves = session.aperture_curves(louder, 0.0, 2.0)
    assert curves.after.max() == pytest.approx(2 * curves.before.max(), rel=0.02)
    later = session.aperture_curves(GATE_OFF.override({"lips.offset_ms": 200}).lips, 0.0, 2.0)
    assert later.times_s[np.argmax(later.after > 0.02)] - later.times_s[
        np.argmax(later.before > 0.02)
    ] == pytest.approx(0.2, abs=0.03)


@pytest.mark.slow
def test_a_span_is_rendered_with_its_audio_and_its_label(session):
    clip = session.render(GATE_OFF, 0.4, 1.0)
    result, source = media.probe(clip.result), media.probe(clip.source)
    assert clip.frames == 25 and clip.skipped_frames == 0
    assert result.video.frames == source.video.frames == 25
    assert result.audio is not None and source.audio is None
    assert "AIGC" in result.tags and "AIGC" not in source.tags
    sound = media.read_audio(clip.result).samples[:, 0]
    assert np.abs(sound[:4000]).max() > 0.1, "the burst at 0.4 s opens the span"


@pytest.mark.slow
def test_a_preview_is_labelled_and_recorded_whatever_a_recipe_switches_off(session):
    off = {
        "label.visible": False, "label.requester": "a", "label.approver": "b", "label.reason": "c",
        "label.c2pa": False,
    }  # fmt: skip
    clip = session.render(GATE_OFF.override(off), 0.0, 2.0)
    own_keys = keys.load()
    verification = verify.verify_file(clip.result, keys=own_keys, search=False)
    assert verification.verdict == "compliant"
    assert verification.layers["visible"].values["text"].startswith("AI生成")
    assert verification.layers["c2pa"].verdict == "compliant"
    assert verification.layers["watermark"].verdict == "compliant"
    (row,) = Ledger(keys=own_keys).entries(subject=hash_input(clip.result))
    assert row.body["preview"] is True and row.body["label_text"] == PREVIEW_TEXT
    assert row.body["sources"]["video"] == session.avatar.sha256
    assert row.body["permission"]["basis"] == "own"


@pytest.mark.slow
def test_a_recording_blocked_after_it_was_loaded_is_not_previewed(session):
    ledger = Ledger(keys=keys.ensure())
    consent.block(ledger, session.avatar.sha256, reason="complaint")
    with pytest.raises(ConsentError, match="complaint"):
        session.render(GATE_OFF, 0.0, 0.4)
    assert not list(session.folder.glob("*result*"))
    consent.unblock(ledger, session.avatar.sha256, reason="settled", requester="a", approver="b")


@pytest.mark.slow
def test_a_preview_is_drawn_by_the_chosen_engine(session, tmp_path):
    wav2lip = Params.from_dict(
        {"engine": "wav2lip", "checkpoint": str(write_random_checkpoint(tmp_path))}
    )

    def frames(params):
        with media.VideoReader(session.render(params, 0.4, 0.4).result) as reader:
            return np.stack([frame.image for frame in reader]).astype(int)

    assert np.abs(frames(GATE_OFF) - frames(wav2lip)).mean((1, 2, 3)).min() > 0.1
    assert session.draws_trajectory(GATE_OFF) and not session.draws_trajectory(wav2lip)


@pytest.mark.slow
def test_the_source_video_is_written_once_for_a_span(session):
    plain = GATE_OFF.override({"label.watermark": False})  # each film has a watermark of its own
    first = session.render(plain, 0.0, 1.0)
    written = first.source.stat().st_mtime_ns
    second = session.render(plain.override({"lips.openness_gain": 2.0}), 0.0, 1.0)
    assert second.source == first.source and second.source.stat().st_mtime_ns == written
    assert second.result != first.result

    def frames(path):
        with media.VideoReader(path) as reader:
            return np.stack([frame.image for frame in reader]).astype(int)

    change = np.abs(frames(first.result) - frames(second.result)).mean((1, 2, 3))
    assert change[15:19].mean() > 3 * max(change[:5].mean(), 0.01), "it changes where it sounds"


@pytest.mark.slow
def test_a_large_video_is_previewed_smaller_and_looks_the_same(
    models, talking, speech, tmp_path, monkeypatch
):
    clips = []
    for longest in (600, 300):
        monkeypatch.setattr("heygem.studio.downscale.MAX_PREVIEW_PX", longest)
        session = Session(GATE_OFF, folder=tmp_path / "p", models=models)
        session.load(talking[0], speech)
        clips.append(session.render(GATE_OFF, 0.5, 0.4))
    for path in (clips[1].result, clips[1].source):
        video = media.probe(path).video
        assert (video.width, video.height) == (256, 300)
    lips = session.preview_avatar.track.points[15][list(topo.LIPS_OUTER), :2]
    (x0, y0), (x1, y1) = lips.min(0).astype(int) - 3, lips.max(0).astype(int) + 4
    apart = []
    with media.VideoReader(clips[0].result) as whole, media.VideoReader(clips[1].result) as small:
        for large, frame in zip(whole, small, strict=True):
            apart.append(np.abs(downscale_image(large.image, (256, 300)).astype(int) - frame.image))
    apart = np.stack(apart)
    untouched = apart[:, 100:, :60].mean()  # what the encoder alone makes of it
    assert apart[:, y0:y1, x0:x1].mean() < 1.5 * untouched + 1.5


@pytest.mark.parametrize(
    ("size", "face", "longest"),
    [((1920, 1080), 250, 960), ((1920, 1080), 700, 878), ((1280, 720), 900, 720),
     ((512, 600), 300, 720)],
)  # fmt: skip
def test_a_large_face_is_previewed_smaller_within_limits(session, size, face, longest):
    track = replace(session.avatar.track, width=size[0], height=size[1])
    person = replace(session.avatar, track=track, report={**session.avatar.report, "face_px": face})
    assert preview_px(person) == longest


def test_a_span_after_the_end_and_an_empty_session_are_refused(session, models, tmp_path):
    with pytest.raises(InputError, match="after the end"):
        session.render(GATE_OFF, 50.0, 1.0)
    with pytest.raises(InputError, match="no audio and no video"):
        Session(models=models, folder=tmp_path / "p").render(Params(), 0.0, 1.0)


def test_a_bad_file_leaves_the_loaded_ones(session, wav, tmp_path):
    person = session.avatar
    with pytest.raises(InputError):
        session.load(tmp_path / "absent.mp4", wav)
    assert session.avatar is person and session.is_loaded


@pytest.mark.slow
def test_blocked_footage_is_not_previewed(models, talking, speech, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "other-home"))
    consent.block(Ledger(keys=keys.ensure()), hash_input(talking[0]), reason="asked us to stop")
    with pytest.raises(ConsentError):
        Session(folder=tmp_path / "p", models=models).load(talking[0], speech)


@pytest.mark.slow
def test_a_cancelled_render_leaves_no_partial_file(session):
    session.render(GATE_OFF, 0.0, 1.0)
    before = sorted(session.folder.iterdir())
    stop = threading.Event()

    def progress(stage, done, total):
        if stage == "render" and done == 5:
            stop.set()

    with pytest.raises(Cancelled):
        session.render(
            GATE_OFF.override({"media.crf": 20}), 0.0, 1.0, progress=progress, cancel=stop
        )
    assert sorted(session.folder.iterdir()) == before


@pytest.mark.slow
def test_old_previews_are_deleted_and_those_in_snapshots_stay(session, monkeypatch):
    monkeypatch.setattr("heygem.studio.session.MAX_CLIPS", 2)
    slots = Snapshots(session)
    first = session.render(GATE_OFF, 0.0, 0.2)
    slots.save("A", GATE_OFF, first)
    for seed in range(4):
        last = session.render(GATE_OFF.override({"lips.smoothing_ms": float(seed)}), 0.0, 0.2)
    results = sorted(p.name for p in session.folder.glob("*-result.mp4"))
    assert first.result.exists() and last.result.exists() and len(results) == 3


@pytest.mark.slow
def test_a_preview_begins_shortly_before_the_first_speech(session):
    params, voice = session.params, np.zeros(len(session.encoded_audio.voice), np.float32)
    encoded = session.encoded_audio
    session._encoded_audio = replace(encoded, voice=voice)
    assert session.first_speech_s(params) == 0, "no speech at all"
    voice[70:] = 1
    assert session.first_speech_s(params) == pytest.approx(0.5)
    voice[:] = 0
    voice[-1] = 1
    start_s = session.first_speech_s(params)
    assert session.render(params, start_s, 0.5).frames > 0, "within the video"


def test_a_moved_slider_computes_its_trajectory_once(session, monkeypatch):
    """Two curves and the drawing asked for it, and each time for the person's style too."""
    from heygem import pipeline

    calls = []
    for name in ("speaker_style", "articulate"):
        real = getattr(pipeline, name)
        monkeypatch.setattr(
            pipeline,
            name,
            lambda *args, real=real, name=name, **named: calls.append(name) or real(*args, **named),
        )
    controls = GATE_OFF.override({"lips.openness_gain": 1.7}).lips
    session._animate(session.params)  # as after `load`: nothing is computed yet
    first = session.aperture_curves(controls, 0.0, 1.0)
    again = session.aperture_curves(controls, 0.0, 1.0)
    drawn = session._trajectory(controls)
    assert sorted(calls) == ["articulate", "articulate", "speaker_style"]
    np.testing.assert_array_equal(first.after, again.after)
    expected = pipeline.articulate(
        session.encoded_audio.predicted,
        session.encoded_audio.voice,
        session.avatar,
        session._models.lips_of(session.avatar),
        controls,
    )
    np.testing.assert_array_equal(drawn.coefficients, expected.coefficients)
