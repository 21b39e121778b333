"""Segments of a film are joined without being coded again."""

from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.media import picture, tone

from heygem import media
from heygem.core.errors import InputError

UNEVEN_S = np.cumsum(np.resize([33, 50, 17, 100, 34, 66], 60)) / 1000
RHYTHMS = {
    "even": (np.arange(60) / 25, 25, None),
    "film": (np.arange(60) * 1001 / 30000, Fraction(30000, 1001), Fraction(1, 30000)),
    "uneven": (UNEVEN_S, 20, Fraction(1, 1000)),
}


def write(path, frames, times_s, rate, time_base, *, preset="ultrafast", audio=None, **more):
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=64, height=48, rate=rate, preset=preset,
        time_base=time_base, audio=audio, **more,
    ) as writer:  # fmt: skip
        for k in frames:
            writer.write(picture(k), float(times_s[k]))
    return path


def joined(path, segments, rate, time_base, *, preset="ultrafast", audio=None):
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=64, height=48, rate=rate, preset=preset,
        time_base=time_base, audio=audio,
    ) as writer:  # fmt: skip
        for segment, start_s in segments:
            writer.append_coded(segment, start_s)
    return path


def packets(path, kind):
    with av.open(path) as container:
        (stream,) = [s for s in container.streams if s.type == kind]
        return [(p.pts, p.dts, bytes(p)) for p in container.demux(stream) if p.size]


def frames_of(path):
    with media.VideoReader(path) as reader:
        return [(frame.time_s, frame.image) for frame in reader]


@pytest.mark.slow
@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("preset", ["balanced", "ultrafast"])  # with and without reordered frames
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_joined_segments_are_the_film(tmp_path, rhythm, preset, suffix):
    times_s, rate, time_base = RHYTHMS[rhythm]
    segments, images = [], []
    for first in range(0, 60, 25):
        part = range(first, min(first + 25, 60))
        start_s = float(times_s[first])
        path = tmp_path / f"{first}.mp4"
        write(path, part, times_s, rate, time_base, preset=preset, start_s=start_s)
        segments.append((path, start_s))
        images += [image for _, image in frames_of(path)]
    sound = tone(float(times_s[-1]))
    film = tmp_path / f"joined{suffix}"
    joined(film, segments, rate, time_base, preset=preset, audio=sound)
    whole = tmp_path / f"whole{suffix}"
    write(whole, range(60), times_s, rate, time_base, preset=preset, audio=sound)
    result = frames_of(film)
    assert all(np.array_equal(a, b) for (_, a), b in zip(result, images, strict=True))
    shown = [time_s for time_s, _ in result]
    assert shown == [time_s for time_s, _ in frames_of(whole)]
    assert packets(film, "audio") == packets(whole, "audio")
    coded = packets(film, "video")
    decoded_at = [dts for _, dts, _ in coded if dts is not None]
    assert all(np.diff(decoded_at) > 0)
    assert all(dts is None or dts <= pts for pts, dts, _ in coded)
    assert media.probe(film).video.rate == media.probe(whole).video.rate


def test_a_segment_of_other_settings_is_refused(tmp_path):
    times_s, rate, time_base = RHYTHMS["even"]
    other = write(tmp_path / "a.mp4", range(5), times_s, rate, time_base, preset="medium")
    with pytest.raises(InputError, match="coded with other settings"):
        joined(tmp_path / "b.mp4", [(other, 0.0)], rate, time_base)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


@pytest.mark.fault
def test_a_segment_that_is_cut_off_is_refused(tmp_path):
    times_s, rate, time_base = RHYTHMS["even"]
    segment = write(tmp_path / "a.mp4", range(30), times_s, rate, time_base)
    segment.write_bytes(segment.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"a\.mp4"):
        joined(tmp_path / "b.mp4", [(segment, 0.0)], rate, time_base)
    assert not (tmp_path / "b.mp4").exists()
