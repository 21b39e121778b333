"""Waveform, speech, spectrum and lip curve under one time axis, drawn as light SVG.

A redraw is a few kilobytes of text, so a curve follows its slider at once. Colours come from
the page's theme.
"""

import base64
import html
import io

import numpy as np

WIDTH = 1000  # units of the drawing; the page stretches it
COLUMNS = 500  # at most this many steps are drawn across the width


def _path(x, y):
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _svg(height, content):
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" '
        f'style="display:block;width:100%;height:{height}px">{content}</svg>'
    )


def _row(label, height, content):
    # A thin row has no room for its name; the pointer brings it up.
    name = f'<span class="hg-label">{html.escape(label)}</span>' if height >= 40 else ""
    title = html.escape(label, quote=True)
    return f'<div class="hg-row" title="{title}">{name}{_svg(height, content)}</div>'


def _envelope(samples, columns=COLUMNS):
    """Lowest and highest sample in each of at most `columns` steps : two float [C]."""
    count = min(columns, max(1, len(samples)))
    edges = np.linspace(0, len(samples), count + 1).astype(int)[:-1]
    if not len(samples):
        return np.zeros(1), np.zeros(1)
    return np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)


def wave_svg(samples, height, label):
    """The waveform of samples, float32 [n] in -1..1, scaled to its own loudest."""
    low, high = _envelope(np.asarray(samples, dtype=np.float32))
    peak = max(float(np.abs([low, high]).max()), 0.02)
    x = np.linspace(0, WIDTH, len(low))
    middle = height / 2
    upper = middle - high / peak * middle * 0.95
    lower = middle - low / peak * middle * 0.95
    outline = _path(np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]]))
    return _row(label, height, f'<path d="{outline}Z" class="hg-wave"/>')


def speech_svg(voice, height, label, *, threshold=0.5):
    """Where somebody speaks: bars over voice, float32 [n] in 0..1."""
    voice = np.asarray(voice, dtype=np.float32)
    speaking = np.concatenate([[0], (voice > threshold).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(speaking))
    scale = WIDTH / max(len(voice), 1)
    bars = "".join(
        f'<rect x="{a * scale:.1f}" y="1" width="{max((b - a) * scale, 1):.1f}" '
        f'height="{height - 2}" class="hg-speech"/>'
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    )
    return _row(label, height, bars)


def mel_svg(log_mel, height, label):
    """The spectrum as a small picture: log_mel float32 [frames, bands], low bands at the foot."""
    from PIL import Image

    mel = np.asarray(log_mel, dtype=np.float32)
    if not mel.size:
        return _row(label, height, "")
    low, high = np.percentile(mel, [5, 99.5])
    grey = np.clip((mel - low) / max(high - low, 1e-6), 0, 1)
    step = max(1, -(-len(grey) // COLUMNS))
    picture = Image.fromarray(np.uint8(255 * grey[::step].T[::-1]))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    data = base64.b64encode(buffer.getvalue()).decode()
    image = (
        f'<image href="data:image/png;base64,{data}" x="0" y="0" width="{WIDTH}" '
        f'height="{height}" preserveAspectRatio="none"/>'
    )
    return _row(label, height, image)


def sound_html(samples, voice, log_mel, say):
    """Waveform, speech bar and spectrum of one span, one above the other."""
    return (
        wave_svg(samples, 44, say("wave"))
        + speech_svg(voice, 8, say("speech"))
        + mel_svg(log_mel, 64, say("mel"))
    )


def overview_html(samples, voice, say):
    """Waveform and speech bar of the whole sound."""
    return wave_svg(samples, 30, say("wave")) + speech_svg(voice, 6, say("speech"))


def curves_html(curves, say, *, height=110, real=None):
    """Lip opening before and after the knobs.

    Parameters
    ----------
    curves : heygem.studio.session.ApertureCurves
    say : callable
    height : int
        Pixels.
    real : float [N], optional
        What the person's own mouth did.

    Returns
    -------
    str
    """
    # The scale stands still while a knob moves, as long as the curve stays inside.
    usual = 1.5 * float(curves.before.max(initial=0))
    own = np.zeros(1) if real is None else np.asarray(real)
    highest = max(usual, float(curves.after.max(initial=0)), float(own.max(initial=0)), 0.05)
    lowest = min(float(curves.before.min(initial=0)), float(curves.after.min(initial=0)), 0.0)
    span = max(curves.end_s - curves.start_s, 1e-6)
    x = (curves.times_s - curves.start_s) / span * WIDTH

    def line(values, kind):
        y = height - 6 - (values - lowest) / (highest - lowest) * (height - 12)
        return f'<path d="{_path(x, y)}" class="{kind}" vector-effect="non-scaling-stroke"/>'

    zero = height - 6 + lowest / (highest - lowest) * (height - 12)
    shut = f'<path d="M0 {zero:.1f}H{WIDTH}" class="hg-zero" vector-effect="non-scaling-stroke"/>'
    legend = (
        f'<div class="hg-legend"><span class="hg-key hg-key-before"></span>'
        f"{html.escape(say('before'))} <span class='hg-key hg-key-after'></span>"
        f"{html.escape(say('after'))}"
        + ("" if real is None else f"<span class='hg-key hg-key-real'></span>{say('real')}")
        + "</div>"
    )
    drawn = shut + line(curves.before, "hg-before") + line(curves.after, "hg-after")
    drawn += "" if real is None else line(own, "hg-real")
    return _row(say("opening"), height, drawn) + axis_html(curves.start_s, curves.end_s) + legend


def axis_html(start_s, end_s):
    """Tick labels at round seconds."""
    span = max(end_s - start_s, 1e-6)
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300) if span / s <= 13), span)
    ticks = step * np.arange(int(np.ceil(start_s / step - 1e-6)), int(end_s / step + 1e-6) + 1)
    labels = "".join(
        f'<span style="left:{100 * (t - start_s) / span:.2f}%">{t:g}</span>' for t in ticks
    )
    return f'<div class="hg-axis">{labels}</div>'


def learning_html(series, *, height=90):
    """How measures went while something was learnt, one small drawing each.

    Parameters
    ----------
    series : dict of str to list of (float, float)
        Step and value of each measure.
    height : int
        Pixels.

    Returns
    -------
    str
    """
    parts = []
    for name, points in series.items():
        steps, values = np.array(points, float).T
        low, high = float(values.min()), float(values.max())
        span = max(float(np.ptp(steps)), 1e-6)
        x = (steps - steps.min()) / span * WIDTH
        y = height - 8 - (values - low) / max(high - low, 1e-9) * (height - 22)
        line = f'<path d="{_path(x, y)}" class="hg-after" vector-effect="non-scaling-stroke"/>'
        parts.append(_row(f"{name}: {values[-1]:.3f} ({low:.3f} – {high:.3f})", height, line))
    return f'<div class="hg-player">{"".join(parts)}</div>'
