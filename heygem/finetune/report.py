"""What a taught avatar looks like at a glance: curves, pictures, words."""

import html
from dataclasses import asdict

import cv2
import numpy as np

from heygem.experiments import figures
from heygem.face.pose import to_canonical
from heygem.finetune import coverage as covered
from heygem.lips.trajectory import RATE_HZ

WINDOW_S = 8.0
THUMB_PX = 96
MOST_THUMBS = 120
PAGE = "report.html"
PICTURES = {
    "curves.png": "Gap of the lips on held-out seconds: real, base model, own model",
    "strengths.png": "Held-out correlation at each strength of the pull towards the base",
    "coverage.png": "Which mouths were seen in which pose",
    "pictures.jpg": "Mouth pictures of all footage",
}


def write(folder, facts, shown, adapted, coverage):
    """All pictures and `report.html` of an avatar, in `folder`."""
    curves(adapted).savefig(folder / "curves.png", dpi=100)
    strengths(adapted).savefig(folder / "strengths.png", dpi=100)
    covered.plot(coverage).savefig(folder / "coverage.png", dpi=100)
    figures.save_image(contact_sheet(shown.library), folder / "pictures.jpg")
    (folder / PAGE).write_text(_page(folder, facts), encoding="utf-8")


def numbers(agreement):
    """An Agreement as plain values, rounded."""
    return {key: round(value, 4) for key, value in asdict(agreement).items()}


def curves(adapted):
    """Real and predicted gap of the lips over the best-covered seconds of two clips.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    longest = sorted(adapted.curves, key=lambda c: -int(c["valid"].sum()))[:2]
    figure = Figure(figsize=(9, 2.3 * len(longest)), layout="constrained")
    rows = round(WINDOW_S * RATE_HZ)
    for ax, curve in zip(np.atleast_1d(figure.subplots(len(longest))), longest, strict=True):
        seen = np.convolve(curve["valid"], np.ones(min(rows, len(curve["valid"]))), "valid")
        start = int(seen.argmax())
        part = slice(start, start + rows)
        time_s = np.arange(len(curve["real"]))[part] / RATE_HZ
        real = np.where(curve["valid"], curve["real"], np.nan)[part]
        ax.plot(time_s, real, color="black", lw=1.2, label="real")
        ax.plot(time_s, curve["before"][part], color="tab:orange", lw=1, label="base")
        ax.plot(time_s, curve["after"][part], color="tab:blue", lw=1, label="own")
        ax.set_ylabel("gap [eye distances]")
        ax.set_xlim(time_s[0], time_s[-1])
    ax.set_xlabel("time [s]")
    ax.legend(loc="upper right", ncols=3, frameon=False)
    return figure


def strengths(adapted):
    """Held-out correlation over the strength of the pull towards the base.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.6), layout="constrained")
    ax = figure.subplots()
    pull = [h["strength"] for h in adapted.history]
    ax.semilogx(pull, [h["correlation"] for h in adapted.history], marker=".", label="own model")
    ax.axhline(adapted.before.correlation, color="tab:orange", lw=1, label="base model")
    ax.set_xlabel("strength of the pull towards the base")
    ax.set_ylabel("held-out correlation")
    ax.legend(frameon=False)
    return figure


def contact_sheet(library, *, columns=12):
    """Thumbnails of a library's mouths, from shut to open; other footage has a blue rim.

    Returns
    -------
    uint8 [h, w, 3], RGB
    """
    pass
    from heygem.face.topology import LOWER
    from heygem.lips.trajectory import aperture_of

    gap = aperture_of(to_canonical(library.points[:, LOWER], library.pose))
    order = np.argsort(gap)
    order = order[np.linspace(0, len(order) - 1, min(len(order), MOST_THUMBS)).astype(int)]
    high = round(THUMB_PX * 0.82)
    cells = []
    for i in order:
        small = cv2.resize(library.crops[i], (THUMB_PX, high), interpolation=cv2.INTER_AREA)
        if library.frames[i] < 0:
            cv2.rectangle(small, (0, 0), (THUMB_PX - 1, high - 1), (40, 110, 255), 2)
        cells.append(small)
    blank = np.full((high, THUMB_PX, 3), 255, np.uint8)
    cells += [blank] * (-len(cells) % columns)
    rows = [np.concatenate(cells[k : k + columns], 1) for k in range(0, len(cells), columns)]
    return np.concatenate(rows)


def table(facts):
    """The held-out numbers, base and own model : list of (name, base, own)."""
    rows = (
        ("correlation of the lips' gap", "correlation", ".3f"),
        ("the same, at its best lag", "aligned", ".3f"),
        ("that lag [ms]", "lag_ms", "+.0f"),
        ("open ratio (spread over the real one)", "ratio", ".2f"),
        ("seconds judged", "seconds", ".0f"),
    )
    both = facts["before"], facts["after"]
    return [(words, *(format(half[key], shape) for half in both)) for words, key, shape in rows]


def _page(folder, facts):
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table(facts)
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in facts["notes"])
    sources = "".join(
        f"<li>{html.escape(s['name'])}: {s['seconds']:.0f} s with a face, picture "
        f"{s['picture_late_ms']:+d} ms after the sound{'' if s['used'] else ', left out'}</li>"
        for s in facts["sources"]
    )
    pictures = "".join(
        f"<h2>{html.escape(title)}</h2><img src='{name}' style='max-width:100%'>"
        for name, title in PICTURES.items()
        if (folder / name).is_file()
    )
    kept = "The base model is kept." if facts["kept_base"] else "The person's own model is used."
    return (
        "<!doctype html><meta charset='utf-8'><title>Taught avatar</title>"
        "<body style='font-family:sans-serif;max-width:60em;margin:2em auto'>"
        f"<h1>What was learnt</h1><ul>{notes}</ul><p>{kept}</p>"
        f"<table border='1' cellpadding='4' style='border-collapse:collapse'>"
        f"<tr><th>held-out seconds</th><th>base</th><th>own</th></tr>{rows}</table>"
        f"<h2>Footage</h2><ul>{sources}</ul>{pictures}</body>\n"
    )
