"""Folders of videos: what is listed, read and cached."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.training import talking

from heygem.audio.embedding import EMBEDDING_DIM, embed
from heygem.core.errors import InputError
from heygem.lips.features import FEATURE_DIM
from heygem.training import dataset
from heygem.training.embeddings import AUGMENTED


def test_videos_are_listed_with_and_without_a_manifest(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "one.mp4").touch()
    (tmp_path / "solo.MKV").touch()
    (tmp_path / "notes.txt").touch()
    sources = dataset.find(tmp_path)
    assert [(s.path.name, s.speaker) for s in sources] == [
        ("one.mp4", "anna"),
        ("solo.MKV", "solo"),
    ]
    (tmp_path / "MANIFEST.csv").write_text(
        "file,speaker,split,licence_class,sync\n"
        "anna/one.mp4,anna,dev,cc-by,ok\nspeech.wav,,audio,,\n"
    )
    (only,) = dataset.find(tmp_path)
    assert (only.split, only.licence_class, only.sync) == ("dev", "cc-by", "ok")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        dataset.find(tmp_path / "empty")


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "anna" / "one.mp4"
    path.parent.mkdir()
    path.write_bytes(b"any content")
    return path


def load(folder):
    return dataset.load(dataset.find(folder), backend=lambda: None, cache=folder / "cache")


@pytest.mark.slow
def test_a_video_is_read_once(tmp_path, video, monkeypatch):
    reads, clip = [], talking("anna", 1)

    def read(source, backend, *, sha256):
        reads.append(source.path.name)
        return replace(clip, source=source, sha256=sha256, iod_px=90.0)

    monkeypatch.setattr(dataset, "read", read)
    for _ in range(2):
        loaded = load(tmp_path)
        assert len(loaded.clips) == 1
    assert reads == ["one.mp4"]
    (cached,) = loaded.clips
    assert cached.iod_px == 90.0 and cached.source.speaker == "anna"
    np.testing.assert_array_equal(cached.valid, clip.valid)
    for name in ("features", "voice", "displacement"):
        values = getattr(cached, name)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, getattr(clip, name), rtol=1e-3, atol=1e-4)


def test_a_video_that_cannot_be_used_is_skipped_with_its_reason(tmp_path, video):
    loaded = load(tmp_path)
    assert not loaded.clips and "one.mp4" in loaded.skipped


@pytest.mark.slow
def test_hash_does_not_depend_on_the_order_of_clips():
    clips = [talking("a", 1, seconds=1.0), talking("b", 2, seconds=1.0)]
    assert dataset.Dataset(clips).sha256 == dataset.Dataset(clips[::-1]).sha256
    assert dataset.Dataset(clips).sha256 != dataset.Dataset(clips[:1]).sha256


@pytest.mark.slow
def test_the_embedding_is_computed_once_and_augmented_only_for_training(
    tmp_path, video, monkeypatch
):
    clip = talking("anna", 1, seconds=2.0)
    samples = np.random.default_rng(0).normal(size=32000).astype(np.float32) * 0.1
    sounds = []

    class Loaded:
        def __init__(self, path):
            self.samples = samples
            sounds.append(path.name)

    monkeypatch.setattr(
        dataset, "read", lambda source, *a, sha256: replace(clip, source=source, sha256=sha256)
    )
    monkeypatch.setattr(dataset.audio, "load", Loaded)
    source = replace(dataset.find(tmp_path)[0], split="train")
    for _ in range(2):
        loaded = dataset.load(
            [source], backend=lambda: None, cache=tmp_path / "cache", embedding="default"
        )
    (trained_on,) = loaded.clips
    assert sounds == ["one.mp4"]
    plain, augmented = trained_on.features[:, FEATURE_DIM:], trained_on.augmented_embeddings
    np.testing.assert_allclose(plain, embed(samples, rows=200), atol=2e-3)
    assert augmented.shape == (AUGMENTED, 200, EMBEDDING_DIM)
    assert (np.abs(augmented - plain).mean((1, 2)) > 0.05).all(), "other rooms, noise and voices"
    source = replace(source, split="dev")
    (unseen,) = dataset.load(
        [source], backend=lambda: None, cache=tmp_path / "cache", embedding="default"
    ).clips
    assert len(unseen.augmented_embeddings) == 0
