"""The held-out part stays out of everything that a person is fitted on."""

import csv
from pathlib import Path

import numpy as np
import pytest

from heygem.core.errors import InputError
from heygem.evaluation import motion_metrics, split

SAMPLES = Path(__file__).parents[2] / "samples"


def test_a_clip_is_divided_at_the_fraction_or_at_the_boundary():
    parts = split.split_clip(20.0, test_fraction=0.4, guard_s=1.0)
    assert (parts.library_end_s, parts.start_s, parts.end_s) == (11.0, 12.0, 20.0)
    parts = split.split_clip(20.0, boundary_s=5.0)
    assert (parts.library_end_s, parts.start_s) == (4.0, 5.0)


def test_a_clip_too_short_to_divide_says_how_long_it_should_be():
    with pytest.raises(InputError, match=r"5\.0 s.*give a clip"):
        split.split_clip(4.99, test_fraction=0.5, guard_s=2.0, name="x.mp4")


def test_runs_end_at_gaps_and_at_cuts():
    class Track:
        cut = np.zeros(10, bool)

    Track.cut[7] = True
    keep = np.array([1, 1, 0, 1, 1, 1, 1, 1, 1, 0], bool)
    assert split.compact_runs(Track, keep) == [(0, 2), (2, 6), (6, 8)]
    assert split.compact_runs(Track, np.zeros(10, bool)) == []


@pytest.mark.slow
def test_the_person_is_fitted_on_the_library_part_only(person):
    times_s = person.avatar.track.times_s
    assert times_s[person.avatar.library.frames].max() < person.split.library_end_s
    assert person.split.start_s - person.split.library_end_s == pytest.approx(1.0)
    assert not (person.split.library(times_s) & person.split.held_out(times_s)).any()


@pytest.mark.slow
def test_the_real_mouth_is_measured_as_it_was_synthesised(hopper_test_clip):
    with (SAMPLES / "hopper.csv").open() as file:
        truth = np.array([float(line["aperture"]) for line in csv.DictReader(file)])
    clip = hopper_test_clip
    truth = truth[clip.frames]
    assert motion_metrics.correlation(clip.real.aperture, truth) > 0.9
    assert abs(motion_metrics.lag_ms(clip.real.aperture, truth, clip.times_s)) < 20
