"""Plots as SVG."""

import numpy as np
import pytest
from helpers.studio import GATE_OFF

from heygem.core import i18n
from heygem.studio import charts

pytestmark = pytest.mark.usefixtures("isolated_home")


def test_plots_are_small_and_their_ticks_are_round(session):
    translate = i18n.translator()
    sound = charts.audio_html(*session.audio_features(0.0, 2.0), translate)
    curves = charts.aperture_html(session.aperture_curves(GATE_OFF.lips, 0.0, 2.0), translate)
    assert len(curves) < 12_000 and len(sound) < 120_000
    assert "nan" not in curves + sound
    assert ">0.25</span>" in charts.axis_html(0.0, 3.0)
    assert ">-0</span>" not in charts.axis_html(0.0, 3.0)


def test_silence_is_plotted_without_nan_or_voice_bars():
    translate = i18n.translator()
    silent = np.zeros(16000, np.float32)
    html = charts.audio_html(silent, np.zeros(100), np.zeros((100, 80)), translate)
    assert "nan" not in html and "<rect" not in html
