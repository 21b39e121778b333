"""Waveform, voice activity, spectrogram and lip aperture over one time axis, as SVG.

A redraw is a few kilobytes of text, so a curve follows its slider at once. Colours come from the
theme of the page.
"""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np

from heygem.core.i18n import Translate
from heygem.core.types import FloatArray
from heygem.studio.clip import ApertureCurves

WIDTH = 1000  # units of the plot; the page stretches it
COLUMNS = 500  # at most this many points across the width


def _path(x: FloatArray, y: FloatArray) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _svg(height: int, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" '
        f'style="display:block;width:100%;height:{height}px">{content}</svg>'
    )


def _row(label: str, height: int, content: str) -> str:
    # A thin row has no room for its label; a tooltip shows it.
    name = f'<span class="hg-label">{html.escape(label)}</span>' if height >= 40 else ""
    title = html.escape(label, quote=True)
    return f'<div class="hg-row" title="{title}">{name}{_svg(height, content)}</div>'


def _envelope(samples: FloatArray, columns: int = COLUMNS) -> tuple[FloatArray, FloatArray]:
    """Minimum and maximum in each of at most `columns` equal parts : two float [C]."""
    count = min(columns, max(1, len(samples)))
    edges = np.linspace(0, len(samples), count + 1).astype(int)[:-1]
    if not len(samples):
        return np.zeros(1), np.zeros(1)
    return np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)


def waveform_svg(samples: FloatArray, height: int, label: str) -> str:
    """Waveform of samples, float32 [n] in -1..1, scaled to their peak."""
    low, high = _envelope(np.asarray(samples, dtype=np.float32))
    peak = max(float(np.abs([low, high]).max()), 0.02)
    x = np.linspace(0, WIDTH, len(low))
    middle = height / 2
    upper = middle - high / peak * middle * 0.95
    lower = middle - low / peak * middle * 0.95
    outline = _path(np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]]))
    return _row(label, height, f'<path d="{outline}Z" class="hg-wave"/>')


def voice_activity_svg(
    voice: FloatArray, height: int, label: str, *, threshold: float = 0.5
) -> str:
    """Bars where voice activity, float32 [n] in 0..1, is above a threshold."""
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


def log_mel_svg(log_mel: FloatArray, height: int, label: str) -> str:
    """Spectrogram: log_mel float32 [frames, bands], low bands at the bottom."""
    from PIL import Image

    mel = np.asarray(log_mel, dtype=np.float32)
    if not mel.size:
        return _row(label, height, "")
    low, high = np.percentile(mel, [5, 99.5])
    grey = np.clip((mel - low) / max(high - low, 1e-6), 0, 1)
    step = max(1, -(-len(grey) // COLUMNS))
    spectrogram = Image.fromarray(np.uint8(255 * grey[::step].T[::-1]))
    buffer = io.BytesIO()
    spectrogram.save(buffer, "PNG", optimize=False)
    data = base64.b64encode(buffer.getvalue()).decode()
    image = (
        f'<image href="data:image/png;base64,{data}" x="0" y="0" width="{WIDTH}" '
        f'height="{height}" preserveAspectRatio="none"/>'
    )
    return _row(label, height, image)


def audio_html(
    samples: FloatArray, voice: FloatArray, log_mel: FloatArray, translate: Translate
) -> str:
    """Waveform, voice activity and spectrogram of one span, below each other."""
    return (
        waveform_svg(samples, 44, translate("wave"))
        + voice_activity_svg(voice, 8, translate("speech"))
        + log_mel_svg(log_mel, 64, translate("mel"))
    )


def overview_html(samples: FloatArray, voice: FloatArray, translate: Translate) -> str:
    """Waveform and voice activity of the whole audio."""
    return waveform_svg(samples, 30, translate("wave")) + voice_activity_svg(
        voice, 6, translate("speech")
    )


def aperture_html(
    curves: ApertureCurves,
    translate: Translate,
    *,
    height: int = 110,
    filmed: FloatArray | None = None,
) -> str:
    """Plot of the lip aperture before and after the controls.

    Parameters
    ----------
    curves : heygem.studio.clip.ApertureCurves
    translate : callable
    height : int
        Pixels.
    filmed : float [N], optional
        Aperture of the filmed mouth at the same times.
    """
    filmed_curve = np.zeros(1) if filmed is None else np.asarray(filmed)
    # The scale stays fixed while a control moves, as long as the curve fits.
    headroom = 1.5 * float(curves.before.max(initial=0))
    peak = max(float(curves.after.max(initial=0)), float(filmed_curve.max(initial=0)))
    highest = max(headroom, peak, 0.05)
    lowest = min(float(curves.before.min(initial=0)), float(curves.after.min(initial=0)), 0.0)
    span = max(curves.end_s - curves.start_s, 1e-6)
    x = (curves.times_s - curves.start_s) / span * WIDTH

    def line(values: FloatArray, css_class: str) -> str:
        y = height - 6 - (values - lowest) / (highest - lowest) * (height - 12)
        return f'<path d="{_path(x, y)}" class="{css_class}" vector-effect="non-scaling-stroke"/>'

    zero = height - 6 + lowest / (highest - lowest) * (height - 12)
    plot = f'<path d="M0 {zero:.1f}H{WIDTH}" class="hg-zero" vector-effect="non-scaling-stroke"/>'
    plot += line(curves.before, "hg-before") + line(curves.after, "hg-after")
    legend = [("before", "before"), ("after", "after")]  # CSS class, key of the text
    if filmed is not None:
        plot += line(filmed_curve, "hg-filmed")
        legend.append(("filmed", "real"))
    keys = " ".join(
        f'<span class="hg-key hg-key-{css_class}"></span>{html.escape(translate(key))}'
        for css_class, key in legend
    )
    axis = axis_html(curves.start_s, curves.end_s)
    return _row(translate("opening"), height, plot) + axis + f'<div class="hg-legend">{keys}</div>'


def pair_html(
    curves: Sequence[ApertureCurves],
    names: Sequence[str],
    translate: Translate,
    *,
    height: int = 110,
) -> str:
    """The lip aperture of two settings over each other, on one scale.

    Parameters
    ----------
    curves : two heygem.studio.clip.ApertureCurves
        Of the same span.
    names : two str
    translate : callable
    height : int
        Pixels.
    """
    first, second = curves
    highest = max(0.05, *(1.05 * float(each.after.max(initial=0)) for each in curves))
    lowest = min(0.0, *(float(each.after.min(initial=0)) for each in curves))
    span = max(first.end_s - first.start_s, 1e-6)

    def line(each: ApertureCurves, css_class: str) -> str:
        x = (each.times_s - first.start_s) / span * WIDTH
        y = height - 6 - (each.after - lowest) / (highest - lowest) * (height - 12)
        return f'<path d="{_path(x, y)}" class="{css_class}" vector-effect="non-scaling-stroke"/>'

    keys = " ".join(
        f'<span class="hg-key {css_class}"></span>{html.escape(name)}'
        for css_class, name in zip(("hg-key-filmed", ""), names, strict=True)
    )
    plot = line(first, "hg-filmed") + line(second, "hg-after")
    axis = axis_html(first.start_s, first.end_s)
    return _row(translate("opening"), height, plot) + axis + f'<div class="hg-legend">{keys}</div>'


def axis_html(start_s: float, end_s: float) -> str:
    """Time axis with labels at round numbers of seconds."""
    span = max(end_s - start_s, 1e-6)
    step = next((s for s in (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300) if span / s <= 13), span)
    ticks = step * np.arange(int(np.ceil(start_s / step - 1e-6)), int(end_s / step + 1e-6) + 1)
    labels = "".join(
        f'<span style="left:{100 * (t - start_s) / span:.2f}%">{t:g}</span>' for t in ticks
    )
    return f'<div class="hg-axis">{labels}</div>'


def metrics_html(series: dict[str, list[tuple[float, float]]], *, height: int = 90) -> str:
    """Metrics of fine-tuning over the settings that were tried, one small plot each.

    Parameters
    ----------
    series : dict of str to list of (float, float)
        Steps and values, by name of the metric.
    height : int
        Pixels.
    """
    parts = []
    for name, points in series.items():
        steps, values = np.array(points, float).T
        low, high = float(values.min()), float(values.max())
        span = max(float(np.ptp(steps)), 1e-6)
        x = (steps - steps.min()) / span * WIDTH
        y = height - 8 - (values - low) / max(high - low, 1e-9) * (height - 22)
        line = f'<path d="{_path(x, y)}" class="hg-after" vector-effect="non-scaling-stroke"/>'
        parts.append(_row(f"{name}: {low:.3f} – {high:.3f}", height, line))
    return f'<div class="hg-player">{"".join(parts)}</div>'
