"""Steps to go back to and forth."""

from heygem.config.params import Params
from heygem.studio.undo import REST_S, UndoStack


def opened(gain):
    return Params.from_dict({"lips": {"openness_gain": gain}})


def test_a_control_on_its_way_is_one_step_until_it_rests():
    clock = [0.0]
    steps = UndoStack(opened(1.0), clock=lambda: clock[0])
    for k in range(8):  # a key that is held
        clock[0] += REST_S / 4
        steps.record(opened(1.1 + k / 10), moved="lips.openness_gain")
    clock[0] += 2 * REST_S
    steps.record(opened(0.5), moved="lips.openness_gain")
    assert steps.undo() == opened(1.8) and steps.undo() == opened(1.0)
    assert not steps.can_undo and steps.redo() == opened(1.8)
    steps.record(opened(0.7), moved="lips.openness_gain")  # at once, but after a redo
    assert steps.undo() == opened(1.8)


def test_another_control_or_a_style_is_a_step_of_its_own():
    steps = UndoStack(opened(1.0), clock=lambda: 0.0)
    steps.record(opened(1.1), moved="lips.openness_gain")
    steps.record(opened(1.1).override({"lips.width_gain": 0.5}), moved="lips.width_gain")
    steps.record(opened(2.0))
    steps.record(opened(1.2))
    for _ in range(4):
        assert steps.can_undo
        steps.undo()
    assert not steps.can_undo
