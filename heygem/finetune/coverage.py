"""Which mouths the footage shows in which poses, and in words what is missing.

Only poses matter that the shown video takes: new speech is drawn on its frames and no others. Where
a mouth was never seen in a pose, its picture comes from another pose and is bent further.
"""

from dataclasses import dataclass

import numpy as np

from heygem.lips.trajectory import aperture_of, width_of

# In eye distances from rest, about the thirds that speech spends its time in.
SHUT, WIDE = 0.015, 0.08
ROUND, SPREAD = -0.03, 0.015
TURNED_DEG, NODDED_DEG = 8.0, 6.0  # from the person's usual pose in the shown video
SHARE = 0.04  # of the shown frames; rarer poses are not asked for
ENOUGH = 3  # pictures of a mouth in a pose

MOUTHS = {
    "closed": "m, b, p",
    "spread": "ee",
    "rounded": "oo",
    "wide open": "ah",
}
_YAW = ("to the left of the picture", "", "to the right of the picture")
_PITCH = ("up", "", "down")


@dataclass(frozen=True)
class Coverage:
    """What was seen.

    Attributes
    ----------
    gap, width : float32 [N]
        Mouths of all footage, from rest, in eye distances.
    turn : int [N, 2]
        Pose of each: 0, 1, 2 for left, straight, right and for up, level, down.
    shown : int [3, 3]
        Frames of the shown video in each pose (yaw, pitch).
    counts : dict of str to int [3, 3]
        Frames of each of `MOUTHS` in each pose.
    """

    gap: np.ndarray
    width: np.ndarray
    turn: np.ndarray
    shown: np.ndarray
    counts: dict

    @property
    def missing(self):
        """(mouth, yaw, pitch) that were not seen often enough, the commonest poses first."""
        wanted = np.argsort(-self.shown, axis=None, kind="stable")
        found = []
        for place in wanted:
            yaw, pitch = np.unravel_index(place, self.shown.shape)
            if self.shown[yaw, pitch] < max(1, SHARE * self.shown.sum()):
                break
            found += [
                (name, int(yaw), int(pitch))
                for name, count in self.counts.items()
                if count[yaw, pitch] < ENOUGH
            ]
        return found

    @property
    def words(self):
        """One sentence for each mouth that is missing somewhere : list of str."""
        places = {}
        for name, yaw, pitch in self.missing:
            places.setdefault(name, []).append(pose_words(yaw, pitch))
        return [
            f"no {name} mouth (as in '{MOUTHS[name]}') was seen when looking "
            f"{_either(where)}: record a few words with it there"
            for name, where in places.items()
        ]


def measure(shown, others=()):
    """Count mouths and poses over all footage.

    Parameters
    ----------
    shown : Avatar
    others : sequence of Avatar

    Returns
    -------
    Coverage
    """
    middle = np.median(shown.pose.angles_deg[shown.usable][:, :2], 0)
    gaps, widths, turns = [], [], []
    for avatar in (shown, *others):
        frames = np.flatnonzero(avatar.usable)
        moved = avatar.displacement(frames)
        away = avatar.pose.angles_deg[frames][:, :2] - middle
        gaps.append(aperture_of(moved))
        widths.append(width_of(moved))
        turns.append(
            np.stack(
                [
                    np.digitize(away[:, 0], (-TURNED_DEG, TURNED_DEG)),
                    np.digitize(away[:, 1], (-NODDED_DEG, NODDED_DEG)),
                ],
                1,
            )
        )
    gap, width, turn = (np.concatenate(v) for v in (gaps, widths, turns))
    kinds = {
        "closed": gap < SHUT,
        "spread": (gap >= SHUT) & (width > SPREAD),
        "rounded": (gap >= SHUT) & (width < ROUND),
        "wide open": gap > WIDE,
    }
    counts = {name: _table(turn[which]) for name, which in kinds.items()}
    return Coverage(gap, width, turn, _table(turns[0]), counts)


def plot(coverage):
    """Mouth shapes in each pose, one small map for each pose of the shown video.

    Parameters
    ----------
    coverage : Coverage

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 7.6), layout="constrained")
    axes = figure.subplots(3, 3, sharex=True, sharey=True)
    limits = [[-0.12, 0.1], [-0.03, 0.25]]
    missing = set(coverage.missing)
    for pitch in range(3):
        for yaw in range(3):
            ax = axes[pitch, yaw]
            here = (coverage.turn == (yaw, pitch)).all(1)
            seen, *_ = np.histogram2d(
                coverage.width[here], coverage.gap[here], bins=(22, 28), range=limits
            )
            ax.imshow(
                np.log1p(seen.T), origin="lower", aspect="auto", cmap="Greys",
                extent=[*limits[0], *limits[1]], vmin=0, vmax=4,
            )  # fmt: skip
            ax.axhline(SHUT, color="0.6", lw=0.5)
            ax.axhline(WIDE, color="0.6", lw=0.5)
            for edge in (ROUND, SPREAD):
                ax.plot([edge, edge], [SHUT, limits[1][1]], color="0.6", lw=0.5)
            share = coverage.shown[yaw, pitch] / max(coverage.shown.sum(), 1)
            ax.set_title(f"{pose_words(yaw, pitch)} ({share:.0%})", fontsize=8)
            if share < SHARE:
                ax.set_facecolor("0.92")
            for (x, y), name in zip(
                ((-0.01, -0.015), (0.055, 0.045), (-0.075, 0.045), (-0.01, 0.2)),
                MOUTHS,
                strict=True,
            ):
                lacks = (name, yaw, pitch) in missing
                count = int(coverage.counts[name][yaw, pitch])
                ax.text(
                    x, y, f"{name}\n{count}", ha="center", va="center", fontsize=7,
                    color="crimson" if lacks else "seagreen" if count else "0.6",
                    weight="bold" if lacks else "normal",
                    bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
                )  # fmt: skip
    for ax in axes[-1]:
        ax.set_xlabel("mouth width from rest [eye distances]", fontsize=7)
    for ax in axes[:, 0]:
        ax.set_ylabel("gap of the lips", fontsize=7)
    title = "Mouths seen in each pose: frames of all footage (share of the shown video)"
    figure.suptitle(title, fontsize=10)
    return figure


def pose_words(yaw, pitch):
    """A pose as one says it; `yaw` and `pitch` are 0, 1 or 2."""
    return " and ".join(word for word in (_YAW[yaw], _PITCH[pitch]) if word) or "straight ahead"


def _table(turn):
    table = np.zeros((3, 3), int)
    np.add.at(table, (turn[:, 0], turn[:, 1]), 1)
    return table


def _either(places):
    return places[0] if len(places) == 1 else ", ".join(places[:-1]) + " or " + places[-1]
