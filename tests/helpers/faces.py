"""Tracking a list of images, and rotated faces, for the tests of faces."""

from types import SimpleNamespace

import numpy as np

from heygem.face import tracking


def follow(images, backend, **options):
    """The Track of images that follow each other at 25 frames a second."""
    height, width = images[0].shape[:2]
    frames = [
        SimpleNamespace(index=i, time_s=i / 25, image=image) for i, image in enumerate(images)
    ]
    return tracking.track(frames, backend, width=width, height=height, **options)


def rotation_about_y(yaw_deg):
    """Rotation matrix of a head turn, positive to the picture's right."""
    a = np.radians(yaw_deg)
    return np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])


def turned(shape, yaw_deg, scale, shift):
    """A canonical shape [n, 3] turned, scaled to pixels and shifted."""
    return shape @ rotation_about_y(yaw_deg).T * scale + shift
