"""Each measure must tell a good mouth from a bad one, and by the amount that was put in."""

import csv

import cv2
import numpy as np
import pytest
from helpers.mouth import mouth

from heygem.evaluation import baselines, image_metrics, motion_metrics
from heygem.evaluation.results import Measure, Row, Table
from heygem.face import topology as topo
from heygem.face.topology import LOWER

RATE_HZ = 25.0


def speechlike(seconds, seed=0, rate_hz=RATE_HZ):
    """A band-limited random aperture, about 4 syllables a second."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = sum(
        rng.normal() * np.sin(2 * np.pi * (f * times + rng.random()))
        for f in np.linspace(0.5, 6, 24)
    )
    return times, 0.1 + 0.02 * wave


def test_mouth_curves_read_the_gap_and_width_that_were_drawn():
    times, gap = speechlike(4)
    gap = np.abs(gap)
    seen = mouth(gap, times)
    assert np.allclose(seen.aperture, gap, atol=1e-5)
    assert np.allclose(seen.width, 0.8, atol=1e-5)
    assert seen.rate_hz == pytest.approx(RATE_HZ)


@pytest.mark.parametrize("late_ms", [-120, -30, 0, 13, 90, 240])
def test_lag_is_found_to_a_quarter_frame_with_its_sign(late_ms):
    times = np.arange(300) / RATE_HZ
    fine_t, fine = speechlike(14, rate_hz=1000)
    real = np.interp(times + 1, fine_t, fine)
    made = np.interp(times + 1 - late_ms / 1e3, fine_t, fine)
    best = motion_metrics.peak(0.5 * made + 3, real, times)
    assert best.lag_ms == pytest.approx(late_ms, abs=10) and best.r > 0.9


def test_lag_of_a_variable_frame_rate_is_read_in_time_not_in_frames():
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.06], 400))
    fine_t, fine = speechlike(20, rate_hz=1000)
    real = np.interp(times + 1, fine_t, fine)
    made = np.interp(times + 0.92, fine_t, fine)
    assert motion_metrics.lag_ms(made, real, times) == pytest.approx(80, abs=12)


def test_of_peaks_nearly_as_high_the_nearest_is_the_lag():
    times = np.arange(400) / RATE_HZ
    beat = np.sin(2 * np.pi * 4 * times)
    made = np.interp(times - 0.04, times, beat)
    assert motion_metrics.lag_ms(made, beat, times) == pytest.approx(40, abs=5)


def test_a_still_mouth_has_no_lag_and_no_correlation():
    times, real = speechlike(8)
    still = np.full_like(real, 0.1)
    assert np.isnan(motion_metrics.lag_ms(still, real, times))
    assert np.isnan(motion_metrics.correlation(still, real))


def test_drift_is_per_ten_minutes():
    fine_t, fine = speechlike(130, rate_hz=200)
    times = np.arange(int(120 * RATE_HZ)) / RATE_HZ
    real = np.interp(times + 1, fine_t, fine)
    # A rate of 29.97 taken for 30 is one part in a thousand: 600 ms in ten minutes.
    made = np.interp(times * (1 - 1e-3) + 1, fine_t, fine)
    assert motion_metrics.drift_ms(made, real, times) == pytest.approx(600, rel=0.15)
    assert abs(motion_metrics.drift_ms(real, real, times)) < 1
    assert np.isnan(motion_metrics.drift_ms(made[:500], real[:500], times[:500]))


def test_open_ratio_sees_a_mouth_that_opens_half_way():
    _, real = speechlike(10)
    assert motion_metrics.open_ratio(0.5 * real + 1, real) == pytest.approx(0.5)


def test_closures_count_when_on_time_and_cost_when_missed_or_invented():
    times = np.arange(250) / RATE_HZ
    real = np.full(250, 0.3)
    for at in (30, 80, 140, 200):
        real[at : at + 3] = 0.0
    threshold = motion_metrics.closed_gap(np.concatenate([real, np.linspace(0, 0.4, 50)]))
    one_frame_late = np.roll(real, 1)
    never, always = np.full(250, 0.3), np.zeros(250)
    half = real.copy()
    half[130:] = 0.3

    def score(made):
        return motion_metrics.closure_f1(made, real, times, threshold)

    assert score(real) == 1.0
    assert score(one_frame_late) == 1.0
    assert score(np.roll(real, 15)) == 0.0
    assert score(never) == 0.0
    assert score(half) == pytest.approx(2 / 3, abs=0.05)
    assert score(always) < 0.3
    assert np.isnan(motion_metrics.closure_f1(real, never, times, threshold))


def test_pauses_do_not_earn_closure_points():
    times = np.arange(250) / RATE_HZ
    real = np.full(250, 0.3)
    real[100:] = 0.0  # a long pause
    real[50:53] = 0.0  # and one closure in speech
    lazy = real.copy()
    lazy[50:53] = 0.3
    assert motion_metrics.closure_f1(lazy, real, times, 0.1) > 0.9
    assert motion_metrics.closure_f1(lazy, real, times, 0.1, speech=np.arange(250) < 90) == 0.0


def test_landmark_distance_is_in_eye_distances():
    times, gap = speechlike(4)
    real, made = mouth(gap, times), mouth(gap, times)
    made.lips[..., 0] += 0.03
    made.lips[..., 1] += 0.04
    assert motion_metrics.landmark_distance(made.lips, real.lips) == pytest.approx(0.05, abs=1e-5)


def test_energy_is_of_the_mouth_and_not_of_the_head():
    times, gap = speechlike(6)
    real = mouth(gap, times)
    still = mouth(np.full_like(gap, 0.1), times)
    nodding = still.lips + 0.1 * np.sin(times * 9)[:, None, None]
    assert motion_metrics.energy_ratio(real.lips, real.lips, RATE_HZ) == pytest.approx(1)
    assert motion_metrics.energy_ratio(nodding, real.lips, RATE_HZ) < 1e-6
    half = mouth(0.5 * gap, times)
    assert motion_metrics.energy_ratio(half.lips, real.lips, RATE_HZ) == pytest.approx(
        0.25, rel=0.02
    )


def test_jitter_rises_with_noise_and_falls_with_smoothing():
    times, gap = speechlike(6)
    real = mouth(gap, times)
    rng = np.random.default_rng(0)
    shaky = real.lips + rng.normal(0, 0.004, real.lips.shape)
    assert motion_metrics.jitter_ratio(real.lips, real.lips) == pytest.approx(1)
    assert motion_metrics.jitter_ratio(shaky, real.lips) > 1.3
    assert motion_metrics.jitter_ratio(mouth(0.3 * gap, times).lips, real.lips) < 0.5


def test_audio_dependence_convicts_a_mouth_that_does_not_listen():
    times, real = speechlike(12, seed=1)
    rng = np.random.default_rng(0)
    listening = real + rng.normal(0, 0.5 * real.std(), len(real))
    _, flapping = speechlike(12, seed=7)
    heard = motion_metrics.audio_dependence(listening, real, times)
    deaf = motion_metrics.audio_dependence(flapping, real, times)
    assert heard.p < 0.01 and heard.gap > 0.5
    assert deaf.p > 0.05
    assert np.isnan(motion_metrics.audio_dependence(real[:30], real[:30], times[:30]).p)


# --- pictures ------------------------------------------------------------------------------


@pytest.fixture
def skin():
    """A noisy, shaded patch like a lower face: uint8 [120, 160, 3]."""
    rng = np.random.default_rng(0)
    base = np.linspace(120, 190, 160)[None, :, None] + np.array([30, 0, -20])
    return np.clip(base + rng.normal(0, 6, (120, 160, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def mask():
    hard = np.zeros((120, 160), np.float32)
    hard[30:90, 40:120] = 1
    soft = cv2.GaussianBlur(hard, (0, 0), 4)
    soft[soft < 1e-3] = 0
    return soft


def test_sharpness_ratio_sees_a_blur(skin):
    assert image_metrics.sharpness_ratio(skin, skin) == pytest.approx(1)
    assert image_metrics.sharpness_ratio(cv2.GaussianBlur(skin, (0, 0), 1.0), skin) < 0.5


def test_seam_sees_an_edge_and_a_wrong_colour(skin, mask):
    clean = image_metrics.seam(skin, skin, mask)
    assert clean.gradient == pytest.approx(1) and clean.delta_e == 0
    pasted = skin.copy()
    pasted[mask > 0.3] = np.clip(skin[mask > 0.3].astype(int) + 40, 0, 255)
    bad = image_metrics.seam(pasted, skin, mask)
    assert bad.gradient > 1.2 and bad.delta_e > 3


def test_seam_of_a_hard_mask_is_looked_for_at_its_edge(skin):
    hard = np.zeros((120, 160), np.float32)
    hard[30:, 40:120] = 1  # runs into the picture's own border, which is no seam
    band = image_metrics.edge_band(hard)
    assert band[60, 40] and band[60, 38] and not band[60, 80] and not band[119, 80]


def test_flicker_sees_a_texture_that_jumps_but_not_one_that_moves(skin):
    box = image_metrics.Box(20, 20, 100, 100)

    def flicker(made, source):
        meter = image_metrics.Flicker(box)
        for a, b in zip(made, source, strict=True):
            meter.add(a, b)
        return meter.ratio

    rng = np.random.default_rng(1)
    source = [
        np.clip(skin + rng.normal(0, 1, skin.shape), 0, 255).astype(np.uint8) for _ in "12345678"
    ]
    jumping = [
        np.clip(f.astype(int) + 6 * (i % 2), 0, 255).astype(np.uint8) for i, f in enumerate(source)
    ]
    brighter = [
        np.clip(f.astype(int) + 2 * i, 0, 255).astype(np.uint8) for i, f in enumerate(source)
    ]
    assert flicker(source, source) == pytest.approx(1)
    assert flicker(jumping, source) > 3
    assert flicker(brighter, source) == pytest.approx(1, abs=0.1)


def test_one_changed_pixel_outside_the_mask_is_counted(skin, mask):
    made = skin.copy()
    made[40:80, 50:100] = 0  # inside: allowed
    assert image_metrics.changed_outside(made, skin, mask) == 0
    made[2, 3, 1] ^= 1
    assert image_metrics.changed_outside(made, skin, mask) == 1


def test_psnr_and_ssim_of_equal_and_noisy_pictures(skin):
    assert image_metrics.psnr_db(skin, skin) == float("inf")
    assert image_metrics.ssim(skin, skin) == pytest.approx(1)
    off = np.clip(skin.astype(int) + 10, 0, 255).astype(np.uint8)
    assert image_metrics.psnr_db(off, skin) == pytest.approx(28.1, abs=0.1)


def test_mouth_box_holds_the_lips_and_stays_in_the_picture():
    points = np.zeros((468, 3), np.float32)
    points[:, 0], points[:, 1] = 50, 90
    points[topo.LIPS_OUTER[0], 0], points[topo.LIPS_OUTER[10], 0] = 20, 80
    box = image_metrics.mouth_box(points, 85, 100)
    assert (box.x0, box.x1) == (0, 85) and box.y1 == 100 and box.y0 < 90


# --- anchors -------------------------------------------------------------------------------


@pytest.fixture
def library():
    """Ten seconds of one mouth: [250, L, 3], opening by a speech-like curve."""
    times, gap = speechlike(10, seed=2)
    shapes = np.zeros((len(gap), len(LOWER), 3), np.float32)
    shapes[:, np.flatnonzero(LOWER == topo.LIP_MIDDLE[1])[0], 1] = gap
    return times, gap, shapes


def test_anchors_without_ears(library):
    _, gap, shapes = library
    assert np.array_equal(baselines.frozen(shapes, 7), np.zeros((7, len(LOWER), 3)))
    assert np.allclose(baselines.mean_mouth(shapes, 3)[1], shapes.mean(0))
    copied = baselines.source_copy(shapes, 400)
    assert np.array_equal(copied[:250], shapes)
    assert np.array_equal(copied[250], shapes[248])  # ping-pong, the last frame is not doubled


def test_energy_jaw_follows_loudness_with_the_persons_spread(library):
    times, gap, shapes = library
    level = 200 * gap - 60 + np.random.default_rng(0).normal(0, 2, len(gap))
    made = baselines.energy_jaw(shapes, level, level[::-1])
    lower = np.flatnonzero(LOWER == topo.LIP_MIDDLE[1])[0]
    assert motion_metrics.correlation(made[:, lower, 1], gap[::-1]) > 0.8
    assert motion_metrics.open_ratio(made[:, lower, 1], gap) == pytest.approx(1, abs=0.05)


def test_loudness_is_in_decibels_of_full_scale():
    tone = np.sin(2 * np.pi * 200 * np.arange(32000) / 16000).astype(np.float32)
    tone[16000:] = 0
    level = baselines.loudness_db(tone, np.array([0.5, 1.5]))
    assert level[0] == pytest.approx(-3, abs=0.2) and level[1] == -60


def test_nearest_audio_finds_the_same_sound_again(library):
    times, _, shapes = library
    mel = np.random.default_rng(1).normal(size=(1000, 20)).astype(np.float32)
    again = mel[300:700]
    made = baselines.nearest_audio(shapes, mel, times, again, times[:75] + 0.2)
    assert np.array_equal(made[:75], shapes[80:155])


def test_shifted_sound_is_the_same_sound_elsewhere():
    samples = np.arange(64000, dtype=np.float32)
    assert np.array_equal(np.sort(baselines.shifted(samples)), samples)
    assert baselines.shifted(samples)[0] == 32000
    with pytest.raises(ValueError, match="too short"):
        baselines.shifted(samples[:20000])


# --- table ---------------------------------------------------------------------------------


def row(clip, speaker, method, value, spread=float("nan")):
    return Row(
        clip, speaker, method, "own", {"aperture_r": Measure(value, spread, 4)}, (0, 3), (4, 6)
    )


def test_a_speaker_with_many_clips_does_not_weigh_more():
    rows = [row(f"a{i}", "a", "model", 0.2) for i in range(9)] + [row("b", "b", "model", 0.8)]
    mean = Table("m", rows).means()["model"]["aperture_r"]
    assert mean.value == pytest.approx(0.5) and mean.windows == 2


def test_table_orders_methods_and_shows_gaps_as_dashes():
    rows = [row("a", "a", "frozen mouth", float("nan")), row("a", "a", "model", 0.61, 0.08)]
    table = Table("m", [*rows, row("a", "a", "real video", 1.0)], skipped={"x.mp4": "2 s is short"})
    text = table.to_markdown()
    assert text.index("real video") < text.index("| model") < text.index("frozen mouth")
    assert "0.61 ± 0.08" in text and "–" in text and "x.mp4: 2 s is short" in text


def test_table_is_saved_as_csv_markdown_and_figure(tmp_path):
    table = Table(
        "m", [row("clip,1.mp4", "a", m, v) for m, v in [("model", 0.5), ("real video", 1)]]
    )
    paths = table.save(tmp_path / "deep" / "er")
    assert [p.name for p in paths] == ["table.csv", "table.md", "figure.png"]
    with paths[0].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["clip"] == "clip,1.mp4" and float(lines[0]["aperture_r"]) == 0.5
    assert cv2.imread(str(paths[2])).shape[1] > 400
