"""Helpers for tests of studio pages: what a user chooses and presses."""

import time

import numpy as np

from helpers.media import gape
from heygem.config.params import Params
from heygem.lips.trajectory import Trajectory

WAIT_S = 60
GATE_OFF = Params.from_dict({"lips": {"silence_gate": False}})


class LoudnessLips:
    """A lips model whose aperture follows the loudness, so that tests know the answer."""

    opening_std = 0.03

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        rows = -(-len(samples) // 320)
        padded = np.pad(samples, (0, rows * 320 - len(samples))).reshape(rows, 320)
        loudness = np.sqrt((padded**2).mean(1))
        coefficients = (0.12 * loudness / max(loudness.max(), 1e-6))[:, None].astype("f4")
        return Trajectory(coefficients, 50.0, self.basis)


def choose_videos(studio, *names):
    """Select videos in the batch page's folder."""
    folder = studio.batch.videos.folder.value
    studio.batch.videos.list.value = tuple(f"{folder}/{name}" for name in names)


def send_request(studio, action, job_id, **more):
    """The message of the job table when a row is dragged or a button pressed."""
    request = {"action": action, "id": job_id, "n": time.monotonic(), **more}
    studio.batch.jobs.table.request = request


def video_names(studio):
    """Videos of the job table, in its order."""
    return [row["video"] for row in studio.batch.jobs.table.rows]
