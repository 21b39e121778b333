"""Renderers planned on given displacements, without a sound."""

from fractions import Fraction

import numpy as np

from heygem.avatar.timeline import Timeline
from heygem.lips.motion import RecordedMotion


def timeline_of(order, rate=25):
    """A timeline at a constant rate that shows the avatar's frames in this order."""
    order = np.asarray(order)
    return Timeline(order, np.arange(len(order)) / rate, Fraction(rate), len(order))


def plan(renderer, displacement, order):
    """Plan a renderer on displacements, float32 [T, len(LOWER), 3], over frames int [T]."""
    samples = np.zeros(0, np.float32)
    renderer.plan(RecordedMotion(displacement), samples, timeline_of(order))
