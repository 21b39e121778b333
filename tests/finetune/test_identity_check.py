"""Verdicts on footage, with an embedder that tells colours apart in place of faces."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.media import write_video

from heygem.core.errors import InputError
from heygem.finetune import identity_check
from heygem.finetune.identity_check import OTHER, SAME, FaceSamples, Verdict, judge

FRAMES = 60


class ColourEmbedder:
    """Red is one person, green another; a mixture has its share of both."""

    def embed(self, image, points):
        red, green = image[..., 0].mean(), image[..., 1].mean()
        return np.array([red, green]) / np.hypot(red, green)


def at(similarity):
    """A colour whose embedding has this similarity with that of red."""
    return np.array([similarity, np.sqrt(1 - similarity**2), 0]) * 200


class Track:
    """What the check needs of one: meshes, shots and a length."""

    def __init__(self, count, runs):
        self.points, self.runs = np.zeros((count, 468, 3), np.float32), runs

    def __len__(self):
        return len(self.points)


RED, GREEN = at(1.0), at(0.0)
IN_DOUBT = at((SAME + OTHER) / 2)


@pytest.fixture
def film(tmp_path):
    """`film(name, (colour, frames), ...)`: an avatar whose shots have these colours."""

    def make(name, *shots, cuts=True):
        colours = [colour for colour, count in shots for _ in range(count)]
        path = write_video(
            tmp_path / name,
            frames=len(colours),
            make=lambda k, width, height: np.full((height, width, 3), colours[k]).astype(np.uint8),
        )
        edges = np.cumsum([0, *(count for _, count in shots)])
        runs = list(zip(edges[:-1], edges[1:], strict=True)) if cuts else [(0, len(colours))]
        usable = np.ones(len(colours), bool)
        return SimpleNamespace(path=path, track=Track(len(colours), runs), usable=usable)

    return make


def compare(*avatars, **options):
    return identity_check.compare(avatars, ColourEmbedder(), **options)


@pytest.mark.slow
def test_three_verdicts(film):
    primary = film("a.mp4", (RED, FRAMES))
    one, two, three = (
        compare(primary, film("b.mp4", (colour, FRAMES)))[1]
        for colour in (at(0.9), IN_DOUBT, GREEN)
    )
    assert [c.verdict for c in (one, two, three)] == list(Verdict)
    assert one.similarity == pytest.approx(0.9, abs=0.03)
    assert one.frames == 24 and not any(c.other.any() for c in (one, two, three))


def test_a_doubtful_file_is_used_only_where_the_user_says_so(film):
    primary, other = film("a.mp4", (RED, FRAMES)), film("b.mp4", (IN_DOUBT, FRAMES))
    comparisons = compare(primary, other)
    with pytest.raises(InputError, match=r"b\.mp4 may show somebody else than a\.mp4.*0\.4") as e:
        identity_check.require_certainty(comparisons)
    assert f"--same-person {other.path}" in str(e.value) and "24" in str(e.value)
    confirmed = compare(primary, other, confirmed=[other.path])
    identity_check.require_certainty(confirmed)
    assert confirmed[1].confirmed and confirmed[1].facts["verdict"] == "doubtful"


def test_no_statement_makes_somebody_else_the_same(film):
    primary, other = film("a.mp4", (RED, FRAMES)), film("b.mp4", (GREEN, FRAMES))
    comparison = compare(primary, other, confirmed=[other.path])[1]
    assert comparison.verdict == Verdict.OTHER and not comparison.confirmed


def test_a_shot_of_somebody_else_is_found_in_any_file(film):
    shots = ((RED, 40), (GREEN, 7), (RED, 30))
    expected = np.zeros(77, bool)
    expected[40:47] = True
    alone = compare(film("a.mp4", *shots))[0]
    assert alone.verdict == Verdict.SAME
    np.testing.assert_array_equal(alone.other, expected)
    further = compare(film("a.mp4", (RED, FRAMES)), film("b.mp4", *shots))[1]
    assert further.verdict == Verdict.SAME
    np.testing.assert_array_equal(further.other, expected)


def test_somebody_else_after_an_unnoticed_cut_is_found(film):
    mixed = film("b.mp4", (RED, 60), (GREEN, 60), cuts=False)
    comparison = compare(film("a.mp4", (RED, FRAMES)), mixed)[1]
    assert comparison.other[75:].all() and not comparison.other[:45].any()


@pytest.mark.slow
def test_a_shot_in_doubt_makes_the_file_doubtful(film):
    """The mean of a long shot of the person must not outvote a short one of a similar person."""
    mixed = film("b.mp4", (RED, 200), (IN_DOUBT, 12))
    assert compare(film("a.mp4", (RED, FRAMES)), mixed)[1].verdict == Verdict.DOUBTFUL
    with pytest.raises(InputError, match=r"b\.mp4 may show more than one person"):
        identity_check.require_certainty(compare(mixed))


def test_the_primary_video_is_of_whom_most_of_it_shows(film):
    primary = film("a.mp4", (GREEN, 10), (RED, 50))
    first, second = compare(primary, film("b.mp4", (RED, FRAMES)))
    assert first.other[:10].all() and not first.other[10:].any()
    assert second.verdict == Verdict.SAME


def test_shots_that_were_not_looked_at_are_not_used(film, monkeypatch):
    monkeypatch.setattr(identity_check, "MAX_SHOTS", 2)
    comparison = compare(film("a.mp4", (RED, 30), (RED, 5), (RED, 20)))[0]
    assert comparison.other[30:35].all() and comparison.other.sum() == 5


def test_the_verdict_is_that_of_the_least_similar_piece():
    embeddings = np.stack([at(s)[:2] / 200 for s in (1, 1, 0.7, 0.7, 0.1, 0.1)])
    samples = FaceSamples(np.arange(6), np.array([0, 0, 1, 1, 2, 2]), embeddings)
    similarity, other, verdict = judge(samples, np.array([1.0, 0.0]))
    assert similarity == pytest.approx(0.7) and verdict == Verdict.SAME
    assert other.tolist() == [2]
