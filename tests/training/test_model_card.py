"""The model card: what stands in it was not chosen on what it is measured on."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.training import SMALL, prediction, talking

from heygem.training import model_card
from heygem.training.metrics import Agreement


@pytest.mark.slow
def test_a_lag_is_never_taken_from_the_seconds_that_are_judged_with_it():
    clip, late = (talking("anna", 5, seconds=24.0, late_s=lag_s) for lag_s in (0.0, 0.16))
    middle = len(clip.valid) // 2
    displacement = np.concatenate([late.displacement[:middle], clip.displacement[middle:]])
    mixed = replace(clip, displacement=displacement)  # late in its first half only
    first, second = model_card._lag_corrected([mixed], [prediction(clip.aperture)])
    assert first.lag_s == pytest.approx(0.0, abs=0.02)
    assert second.lag_s == pytest.approx(0.16, abs=0.02)
    # No row counts twice, and some between the halves count in neither.
    assert not (first.valid & second.valid).any()
    assert first.valid.sum() + second.valid.sum() < len(clip.valid)


def test_report_speakers_have_rows_of_their_own():
    def agreements(anna, bert):
        return {
            "anna": Agreement(anna, anna, 0.0, 1.0, 8.0),
            "bert": Agreement(bert, bert, 0, 1, 8),
        }

    evaluation = {
        key: agreements(0.3, 0.7)
        for key in ("model", "synced", "energy-driven jaw", "shuffled audio")
    }
    settings = SMALL.model_copy(update={"report_speakers": ("anna",)})
    text = "\n".join(model_card._quality(evaluation, settings))
    assert "| model, report speakers | 0.30 |" in text
    assert "| model, choose speakers | 0.70 |" in text
    assert "| model | 0.50 |" in "\n".join(model_card._quality(evaluation, SMALL))
