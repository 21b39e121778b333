"""Report of a fine-tuned avatar: curves, coverage, contact sheet, and a page that shows them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.avatar.library import MouthLibrary
from heygem.core import templating
from heygem.core.types import Image
from heygem.experiments import figures
from heygem.face.pose import to_canonical
from heygem.face.topology import LOWER
from heygem.finetune import coverage
from heygem.finetune.adapt import Adaptation
from heygem.lips.trajectory import RATE_HZ, aperture_of
from heygem.training.metrics import Agreement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW_S = 8.0
THUMBNAIL_PX = 96
MAX_THUMBNAILS = 120
OTHER_FOOTAGE_RGB = (40, 110, 255)
PAGE = "report.html"
PICTURES = {
    "curves.png": "Lip aperture on held-out seconds: real, base model, fine-tuned model",
    "penalties.png": "Held-out correlation at each penalty of the ridge regression",
    "coverage.png": "Mouth shapes in each pose",
    "pictures.jpg": "Mouth pictures of all footage",
}


def write(
    folder: Path,
    facts: dict[str, Any],
    primary: Avatar,
    adaptation: Adaptation,
    covered: coverage.Coverage,
) -> None:
    """Write all pictures and `report.html` of an avatar bundle."""
    plot_curves(adaptation).savefig(folder / "curves.png", dpi=100)
    plot_penalties(adaptation).savefig(folder / "penalties.png", dpi=100)
    coverage.plot(covered).savefig(folder / "coverage.png", dpi=100)
    figures.save_image(contact_sheet(primary.library), folder / "pictures.jpg")
    page = templating.render(
        "heygem.finetune", PAGE, facts=facts, rows=table(facts), pictures=PICTURES
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def rounded(agreement: Agreement) -> dict[str, float]:
    """The fields of an Agreement, rounded."""
    return {key: round(value, 4) for key, value in asdict(agreement).items()}


def plot_curves(adaptation: Adaptation) -> "Figure":
    """Plot real and predicted lip aperture, of the two longest clips where most is valid."""
    from matplotlib.figure import Figure

    longest = sorted(adaptation.curves, key=lambda c: -int(c["valid"].sum()))[:2]
    figure = Figure(figsize=(9, 2.3 * len(longest)), layout="constrained")
    rows = round(WINDOW_S * RATE_HZ)
    for ax, curve in zip(np.atleast_1d(figure.subplots(len(longest))), longest, strict=True):
        window = np.ones(min(rows, len(curve["valid"])))
        start = int(np.convolve(curve["valid"], window, "valid").argmax())
        part = slice(start, start + rows)
        time_s = np.arange(len(curve["real"]))[part] / RATE_HZ
        real = np.where(curve["valid"], curve["real"], np.nan)[part]
        ax.plot(time_s, real, color="black", lw=1.2, label="real")
        ax.plot(time_s, curve["before"][part], color="tab:orange", lw=1, label="base")
        ax.plot(time_s, curve["after"][part], color="tab:blue", lw=1, label="fine-tuned")
        ax.set_ylabel("lip aperture [IOD]")
        ax.set_xlim(time_s[0], time_s[-1])
    ax.set_xlabel("time [s]")
    ax.legend(loc="upper right", ncols=3, frameon=False)
    return figure


def plot_penalties(adaptation: Adaptation) -> "Figure":
    """Plot the held-out correlation over the penalty."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.6), layout="constrained")
    ax = figure.subplots()
    penalties = [entry["penalty"] for entry in adaptation.history]
    correlations = [entry["correlation"] for entry in adaptation.history]
    ax.semilogx(penalties, correlations, marker=".", label="fine-tuned model")
    ax.axhline(adaptation.before.correlation, color="tab:orange", lw=1, label="base model")
    ax.set_xlabel("penalty")
    ax.set_ylabel("held-out correlation")
    ax.legend(frameon=False)
    return figure


def contact_sheet(library: MouthLibrary, *, columns: int = 12) -> Image:
    """Thumbnails of a library's mouths, from closed to open; other footage has a blue rim."""
    aperture = aperture_of(to_canonical(library.points[:, LOWER], library.pose))
    order = np.argsort(aperture)
    order = order[np.linspace(0, len(order) - 1, min(len(order), MAX_THUMBNAILS)).astype(int)]
    height = round(THUMBNAIL_PX * 0.82)
    cells = []
    for i in order:
        cell = cv2.resize(library.crops[i], (THUMBNAIL_PX, height), interpolation=cv2.INTER_AREA)
        if library.frames[i] < 0:
            corner = (THUMBNAIL_PX - 1, height - 1)
            cv2.rectangle(cell, (0, 0), corner, OTHER_FOOTAGE_RGB, 2)
        cells.append(cell)
    blank = np.full((height, THUMBNAIL_PX, 3), 255, np.uint8)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[k : k + columns], 1) for k in range(0, len(cells), columns)]
    return np.concatenate(rows)


def table(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Held-out numbers as text: (name, base, fine-tuned)."""
    rows = (
        ("lip-aperture correlation", "correlation", ".3f"),
        ("the same at its best lag", "aligned", ".3f"),
        ("that lag [ms]", "lag_ms", "+.0f"),
        ("amplitude ratio", "ratio", ".2f"),
        ("seconds evaluated", "seconds", ".0f"),
    )
    before, after = facts["before"], facts["after"]
    return [(name, format(before[key], fmt), format(after[key], fmt)) for name, key, fmt in rows]
