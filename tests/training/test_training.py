"""Training on made-up people whose mouths are known to follow their sound."""

import numpy as np
import pytest
from helpers.training import SMALL, speech, talking

from heygem import lips
from heygem.core.errors import InputError, ParameterError
from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.face.tracking import Track
from heygem.lips import features
from heygem.training import augment, dataset, metrics, model_card, run
from heygem.training.trainer import save, train
from heygem.training.windows import TrainingWindows, fit_basis, speaker_scales


@pytest.fixture(scope="module")
def people():
    clips = [talking(f"p{i}", i) for i in range(6)]
    clips.append(talking("late", 20, late_s=0.16))
    clips.append(talking("forbidden", 21, licence="research-only"))
    clips.append(talking("unseen", 22, split="dev"))
    return dataset.Dataset(clips)


@pytest.fixture(scope="module")
def trained(people):
    return train(people, SMALL)


def test_it_learns_to_follow_people_it_never_heard(trained, people):
    unseen = [c for c in people.clips if c.source.speaker == "unseen"]
    judged = model_card.judge(trained.model, unseen)
    assert judged["model"]["unseen"].correlation > 0.8
    assert judged["model"]["unseen"].correlation > judged["shuffled audio"]["unseen"].correlation
    assert abs(judged["model"]["unseen"].lag_ms) <= 20
    assert 0.6 < judged["model"]["unseen"].ratio < 1.6


def test_only_what_may_be_learnt_from_is(trained):
    names = {c.source.speaker for c in trained.used}
    assert "forbidden" not in names and "unseen" not in names
    assert set(trained.held_out) <= names


def test_sync_check_finds_the_late_clip(trained):
    for clip, found in zip(trained.used, trained.sync, strict=True):
        if clip.source.speaker == "late":
            assert found.verdict == "shifted" and abs(found.lag_s - 0.16) <= 0.02
        else:
            assert abs(found.correction_s) <= 0.04


def test_sync_check_leaves_out_what_was_dubbed():
    clip = talking("a", 1)
    other = talking("b", 2)
    found = metrics.check_sync([clip], [other.aperture[: len(clip.valid)]])[0]
    assert found.verdict == "off"


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(people, tmp_path):
    settings = SMALL.model_copy(update={"iterations": 20, "check_every": 10, "sync_iterations": 0})
    whole = train(people, settings)
    stop = {"n": 0}

    def interrupt(stage, done, total):
        stop["n"] += 1
        if stop["n"] == 15:
            raise KeyboardInterrupt

    kept = tmp_path / "t.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(people, settings, checkpoint=kept, progress=interrupt)
    resumed = train(people, settings, checkpoint=kept)
    for a, b in zip(whole.model.networks, resumed.model.networks, strict=True):
        for key, value in a.state_dict().items():
            np.testing.assert_allclose(b.state_dict()[key], value, atol=1e-6)


def test_likeness_is_of_the_shape_and_not_of_the_size():
    import torch

    from heygem.training.loss import correlation_loss

    rng = np.random.default_rng(0)
    real = torch.from_numpy(rng.normal(size=(3, 100, 2)))
    valid = torch.ones(3, 100, dtype=torch.bool)
    assert correlation_loss(0.2 * real + 5, real, valid).max() < 0.01
    assert abs(correlation_loss(-real, real, valid) - 2).max() < 0.01
    half = valid.clone()
    half[:, 50:] = False
    dubbed = torch.where(half[..., None], real, torch.flip(real, [1]))
    assert correlation_loss(dubbed, real, half).max() < 0.01
    assert correlation_loss(real, real * 1e-3, valid).max() == 0  # a mouth at rest has no shape


def test_too_few_people_is_said_so():
    with pytest.raises(InputError, match="too few speakers"):
        train(dataset.Dataset([talking("alone", 1)]), SMALL)


def test_basis_holds_what_the_faces_do(people):
    clips = people.clips[:4]
    basis = fit_basis(clips, 3)
    moved = clips[0].moved
    flat = moved.reshape(len(moved), -1)
    back = np.einsum("tk,knd->tnd", flat @ basis.project, basis.shapes)
    assert np.abs(back - moved).max() < 0.05 * np.abs(moved).max()
    assert basis.explained > 0.99


def test_wide_and_narrow_mouths_teach_the_same_movement():
    clips = [talking("small", 3, gap=0.04), talking("big", 3, gap=0.12)]
    scales, middle = speaker_scales(clips)
    assert scales["big"] / scales["small"] == pytest.approx(3, rel=0.05)
    basis = fit_basis(clips, 2)
    drawn = TrainingWindows(clips, basis, scales, rows=64)._items
    np.testing.assert_allclose(drawn[0][1], drawn[1][1], atol=0.1)


def test_same_seed_same_batch_and_silence_is_shut(people):
    clips = people.clips[:4]
    examples = TrainingWindows(clips, fit_basis(clips, 3), {}, rows=64)
    first, again = examples.batch(40, 7, "cpu"), examples.batch(40, 7, "cpu")
    other = examples.batch(40, 8, "cpu")
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.allclose(first[0], other[0])
    assert ((first[1] == 0).all(dim=(1, 2))).any()
    assert np.isfinite(first[0].numpy()).all()


def test_power_and_logarithm_undo_each_other():
    import torch

    heard = torch.randn(2, 9, 80) * 0.3
    np.testing.assert_allclose(augment.to_log(augment.to_power(heard)), heard, atol=1e-4)


def face_track(seconds, rate, opening):
    """A track of a plain drawn face that opens its mouth by `opening(t)` pixels."""
    rng = np.random.default_rng(5)
    face = np.stack(
        [rng.uniform(-100, 100, 468), rng.uniform(-120, 130, 468), rng.uniform(-30, 30, 468)], 1
    )
    face[list(topo.EYE_OUTER)] = [[-60, -30, 0], [60, -30, 0]]
    face[topo.FOREHEAD], face[topo.CHIN] = [0, -110, 0], [0, 130, 0]
    x = np.linspace(-35, 35, 11)
    face[topo.INNER_UPPER] = face[topo.INNER_LOWER] = np.stack([x, 0 * x + 60, 0 * x], 1)
    times = np.arange(int(seconds * rate)) / rate
    points = np.repeat(face[None] + [320, 240, 0], len(times), 0)
    points[:, topo.INNER_LOWER[1:-1], 1] += opening(times)[:, None]
    count = len(times)
    return Track(
        points=points.astype(np.float32),
        found=np.ones(count, bool),
        cut=np.zeros(count, bool),
        score=np.ones(count, np.float32),
        times_s=times,
        clarity=np.ones(count, np.float32),
        covered=np.zeros(count, bool),
        width=640,
        height=480,
    )


def test_track_and_sound_become_a_clip_on_one_clock():
    """29.97 fps in, 50 Hz out: an opening at 3 s is at row 150, at a tenth of the eye distance."""
    track = face_track(4.0, 30000 / 1001, lambda t: 12 * np.exp(-(((t - 3) / 0.1) ** 2)))
    track.found[30:45] = False
    samples, _ = speech(4.0, np.random.default_rng(0))
    clip = dataset.from_track(dataset.Source(dataset.Path("x.mp4"), "x"), track, samples)
    assert len(clip.moved) == 200 and clip.heard.shape == (400, features.FEATURE_DIM)
    assert abs(int(clip.aperture.argmax()) - 150) <= 1
    assert clip.aperture.max() == pytest.approx(0.1, abs=0.02)
    assert not clip.valid[55:70].any() and clip.valid[80:190].all()
    earlier = clip.shifted(0.1)
    assert abs(int(earlier.aperture.argmax()) - 145) <= 1


def test_a_face_that_is_hardly_there_is_refused():
    track = face_track(2.0, 25, np.zeros_like)
    track.found[10:] = False
    with pytest.raises(InputError, match="too little of a face"):
        dataset.from_track(
            dataset.Source(dataset.Path("x.mp4"), "x"), track, np.zeros(32000, np.float32)
        )


def test_videos_are_found_with_and_without_a_manifest(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "one.mp4").touch()
    (tmp_path / "solo.MKV").touch()
    (tmp_path / "notes.txt").touch()
    found = dataset.find(tmp_path)
    assert [(s.path.name, s.speaker) for s in found] == [("one.mp4", "anna"), ("solo.MKV", "solo")]
    (tmp_path / "MANIFEST.csv").write_text(
        "file,speaker,split,licence_class,sync\n"
        "anna/one.mp4,anna,dev,cc-by,ok\nspeech.wav,,audio,,\n"
    )
    (only,) = dataset.find(tmp_path)
    assert (only.split, only.licence_class, only.sync) == ("dev", "cc-by", "ok")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        dataset.find(tmp_path / "empty")


def test_what_was_read_is_read_once(tmp_path, monkeypatch):
    video = tmp_path / "anna" / "one.mp4"
    video.parent.mkdir()
    video.write_bytes(b"any content")
    reads = []

    def read(source, backend, *, sha256):
        reads.append(source.path.name)
        clip = talking("anna", 1)
        return dataset.replace(clip, source=source, sha256=sha256)

    monkeypatch.setattr(dataset, "read", read)
    for _ in range(2):
        got = dataset.load(dataset.find(tmp_path), backend=lambda: None, cache=tmp_path / "cache")
        assert len(got.clips) == 1 and got.clips[0].moved.shape[1] == len(LOWER)
    assert reads == ["one.mp4"]


def test_recipe_writes_a_model_and_a_card(people, tmp_path, monkeypatch):
    monkeypatch.setattr(run.dataset, "find", lambda folder: ["anything"])
    monkeypatch.setattr(run.dataset, "load", lambda *a, **k: people)
    quick = SMALL.model_copy(update={"iterations": 10, "check_every": 10, "sync_iterations": 0})
    out = tmp_path / "new" / "mine.safetensors"
    out.parent.mkdir()
    out.with_suffix(".notes.md").write_text("## Limits\n\nWhispering is not in it.\n", "utf-8")
    run.train_lips(tmp_path, out, quick, device="cpu")
    model = lips.LipsModel.load(out)
    assert model.about["speakers"] == 7 and model.opening_std > 0
    text = (tmp_path / "new" / "mine.md").read_text(encoding="utf-8")
    assert people.sha256 in text and "energy-driven jaw" in text and "unseen" in text
    assert "forbidden" not in text
    assert "Whispering is not in it." in text
    assert not list(out.parent.glob("*.checkpoint"))
    with pytest.raises(ParameterError, match="safetensors"):
        run.train_lips(tmp_path, tmp_path / "mine.pth", quick)


def test_saved_file_holds_every_network(trained, tmp_path):
    path = tmp_path / "m.safetensors"
    save(trained.model, path)
    again = lips.LipsModel.load(path)
    assert len(again.networks) == 2
    np.testing.assert_allclose(again.gain, trained.model.gain)
