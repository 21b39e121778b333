"""The time left of an item: over all stages, without jumps, learnt from what was measured."""

import itertools

import pytest

from heygem.batch.workers.estimate import ItemEstimate, SmoothedTimeLeft, StageRates

STAGES = {  # seconds on a machine that is three times slower than expected; steps
    "load models": (18.0, 1),
    "listen": (7.5, 1),
    "render": (39.0, 100),
    "finish": (1.2, 1),
    "label": (3.6, 1),
    "figures": (6.6, 1),
    "verify": (2.7, 1),
    "MLflow": (4.5, 1),
}


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def run_item(rates, clock, *, has_models=False):
    """What is shown twice a second while an item with ten seconds of speech is made."""
    estimate = ItemEstimate(rates, 10.0, has_models=has_models, clock=clock)
    shown = []
    for stage, (seconds, steps) in STAGES.items():
        if has_models and stage == "load models":
            continue
        ticks = round(seconds / 0.5)
        for tick in range(ticks):
            estimate.report(stage, tick * steps // ticks, steps)
            shown.append((clock.now_s, estimate.progress()))
            clock.now_s += 0.5
    estimate.end()
    return shown


def test_progress_never_goes_back_and_every_stage_has_a_part_of_it():
    shown = run_item(StageRates(), Clock())
    fractions = [progress["fraction"] for _, progress in shown]
    assert fractions == sorted(fractions) and fractions[-1] < 1
    for stage in STAGES:
        of_stage = [p["fraction"] for _, p in shown if p["stage"] == stage]
        assert of_stage[-1] > of_stage[0] or len(of_stage) < 3, stage
    rendered = [p["fraction"] for _, p in shown if p["stage"] == "render"]
    assert rendered[-1] < 0.9, "what follows the rendering takes its time"


def test_the_time_left_runs_down_without_jumps_and_is_right_for_the_second_item():
    rates, clock = StageRates(), Clock()
    run_item(rates, clock)
    shown = run_item(rates, clock, has_models=True)
    end_s = clock.now_s
    for (_, before), (_, after) in itertools.pairwise(shown):
        assert -2.0 <= after["left_s"] - before["left_s"] <= 1.0
    for at_s, progress in shown[len(shown) // 4 :]:
        assert progress["left_s"] == pytest.approx(end_s - at_s, abs=6), progress


def test_a_changed_estimate_is_followed_gradually():
    clock = Clock()
    time_left = SmoothedTimeLeft(clock)
    assert time_left.update(100) == 100
    clock.now_s = 1.0
    assert 85 < time_left.update(40) < 99
    for _ in range(40):
        clock.now_s += 1.0
        shown_s = time_left.update(40)
    assert shown_s == pytest.approx(40, abs=6)
