"""Coverage: which mouth shapes the footage shows in which poses, and what is missing.

Only poses of the primary video count: new speech is rendered on its frames and no others. Where a
mouth shape was never recorded in a pose, its picture comes from another pose and is warped further.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.core.types import FloatArray, IntArray
from heygem.lips.trajectory import aperture_of, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In inter-ocular distances (IOD) from rest, about the thirds that speech spends its time in.
CLOSED, WIDE_OPEN = 0.015, 0.08  # lip aperture
ROUNDED, SPREAD = -0.03, 0.015  # mouth width
TURNED_DEG, NODDED_DEG = 8.0, 6.0  # from the person's usual pose in the primary video
MIN_POSE_SHARE = 0.04  # of the primary video's frames; rarer poses do not count
MIN_PICTURES = 3  # of a mouth shape in a pose

MOUTHS = {
    "closed": "m, b, p",
    "spread": "ee",
    "rounded": "oo",
    "wide open": "ah",
}
_YAW = ("to the left of the picture", "", "to the right of the picture")
_PITCH = ("up", "", "down")
_PLOT_LIMITS = ((-0.12, 0.1), (-0.03, 0.25))  # of width and aperture
_LABEL_AT = {
    "closed": (-0.01, -0.015),
    "spread": (0.055, 0.045),
    "rounded": (-0.075, 0.045),
    "wide open": (-0.01, 0.2),
}


@dataclass(frozen=True)
class Coverage:
    """Mouth shapes and poses of the footage.

    Attributes
    ----------
    aperture, width : float32 [N]
        Of every usable frame of all footage, from rest, in IOD.
    turn : int [N, 2]
        Pose of each: 0, 1, 2 for left, straight, right and for up, level, down.
    frames_per_pose : int [3, 3]
        Frames of the primary video in each pose (yaw, pitch).
    counts : dict of str to int [3, 3]
        Frames of each of `MOUTHS` in each pose.
    """

    aperture: FloatArray
    width: FloatArray
    turn: IntArray
    frames_per_pose: IntArray
    counts: dict[str, IntArray]

    @property
    def missing(self) -> list[tuple[str, int, int]]:
        """(mouth shape, yaw, pitch) with too few frames, the commonest poses first."""
        poses = np.argsort(-self.frames_per_pose, axis=None, kind="stable")
        missing = []
        for pose in poses:
            yaw, pitch = (int(i) for i in np.unravel_index(pose, self.frames_per_pose.shape))
            if self.frames_per_pose[yaw, pitch] < max(
                1, MIN_POSE_SHARE * self.frames_per_pose.sum()
            ):
                break
            missing += [
                (name, yaw, pitch)
                for name, count in self.counts.items()
                if count[yaw, pitch] < MIN_PICTURES
            ]
        return missing

    @property
    def words(self) -> list[str]:
        """What to record: one sentence for each mouth shape that is missing in some pose."""
        poses: dict[str, list[str]] = {}
        for name, yaw, pitch in self.missing:
            poses.setdefault(name, []).append(pose_words(yaw, pitch))
        return [
            f"no {name} mouth (as in '{MOUTHS[name]}') in the footage when looking "
            f"{_either(directions)}: record a few words with it there"
            for name, directions in poses.items()
        ]


def measure(primary: Avatar, others: Sequence[Avatar] = ()) -> Coverage:
    """Count mouth shapes and poses over all footage.

    Parameters
    ----------
    primary : Avatar
        The avatar whose video results show.
    others : sequence of Avatar
        The same person in other videos.
    """
    usual_deg = np.median(primary.pose.angles_deg[primary.usable][:, :2], 0)
    apertures, widths, turns = [], [], []
    for avatar in (primary, *others):
        frames = np.flatnonzero(avatar.usable)
        displacement = avatar.displacement(frames)
        turned_deg = avatar.pose.angles_deg[frames][:, :2] - usual_deg
        apertures.append(aperture_of(displacement))
        widths.append(width_of(displacement))
        turns.append(
            np.stack(
                [
                    np.digitize(turned_deg[:, 0], (-TURNED_DEG, TURNED_DEG)),
                    np.digitize(turned_deg[:, 1], (-NODDED_DEG, NODDED_DEG)),
                ],
                1,
            )
        )
    aperture, width = np.concatenate(apertures), np.concatenate(widths)
    turn = np.concatenate(turns)
    counts = {name: _count(turn[rows]) for name, rows in classify(aperture, width).items()}
    return Coverage(aperture, width, turn, _count(turns[0]), counts)


def classify(aperture: FloatArray, width: FloatArray) -> dict[str, np.ndarray]:
    """Rows of each of `MOUTHS` : bool [N]; a row may belong to several or none."""
    is_open = aperture >= CLOSED
    return {
        "closed": ~is_open,
        "spread": is_open & (width > SPREAD),
        "rounded": is_open & (width < ROUNDED),
        "wide open": aperture > WIDE_OPEN,
    }


def plot(coverage: Coverage) -> "Figure":
    """Plot mouth shapes in each pose, one small map for each pose of the primary video."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 7.6), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True, sharey=True)
    for pitch in range(3):
        for yaw in range(3):
            _plot_pose(axes[pitch, yaw], coverage, yaw, pitch)
    for ax in axes[-1]:
        ax.set_xlabel("mouth width from rest [IOD]", fontsize=7)
    for ax in axes[:, 0]:
        ax.set_ylabel("lip aperture [IOD]", fontsize=7)
    title = "Mouth shapes in each pose: frames of all footage (share of the primary video)"
    figure.suptitle(title, fontsize=10)
    return figure


def _plot_pose(ax: "Axes", coverage: Coverage, yaw: int, pitch: int) -> None:
    """Draw a histogram of width and aperture in one pose, with the count of each mouth shape."""
    rows = (coverage.turn == (yaw, pitch)).all(1)
    histogram, *_ = np.histogram2d(
        coverage.width[rows], coverage.aperture[rows], bins=(22, 28), range=_PLOT_LIMITS
    )
    ax.imshow(
        np.log1p(histogram.T), origin="lower", aspect="auto", cmap="Greys",
        extent=(*_PLOT_LIMITS[0], *_PLOT_LIMITS[1]), vmin=0, vmax=4,
    )  # fmt: skip
    ax.axhline(CLOSED, color="0.6", lw=0.5)
    ax.axhline(WIDE_OPEN, color="0.6", lw=0.5)
    for edge in (ROUNDED, SPREAD):
        ax.plot([edge, edge], [CLOSED, _PLOT_LIMITS[1][1]], color="0.6", lw=0.5)
    share = coverage.frames_per_pose[yaw, pitch] / max(coverage.frames_per_pose.sum(), 1)
    ax.set_title(f"{pose_words(yaw, pitch)} ({share:.0%})", fontsize=8)
    if share < MIN_POSE_SHARE:
        ax.set_facecolor("0.92")
    missing = set(coverage.missing)
    for name, (x, y) in _LABEL_AT.items():
        is_missing = (name, yaw, pitch) in missing
        count = int(coverage.counts[name][yaw, pitch])
        ax.text(
            x, y, f"{name}\n{count}", ha="center", va="center", fontsize=7,
            color="crimson" if is_missing else "seagreen" if count else "0.6",
            weight="bold" if is_missing else "normal",
            bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip


def pose_words(yaw: int, pitch: int) -> str:
    """A pose in words; `yaw` and `pitch` are 0, 1 or 2."""
    return " and ".join(word for word in (_YAW[yaw], _PITCH[pitch]) if word) or "straight ahead"


def _count(turn: IntArray) -> IntArray:
    table = np.zeros((3, 3), int)
    np.add.at(table, (turn[:, 0], turn[:, 1]), 1)
    return table


def _either(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else ", ".join(places[:-1]) + " or " + places[-1]
