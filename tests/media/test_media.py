import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace, VideoReformatter
from helpers.media import picture, tone, write_raw_video, write_video, write_wav
from PIL import Image

from heygem.core.errors import InputError, OutputError, ParameterError
from heygem.media import AudioFile, AudioTrack, VideoReader, VideoWriter, probe, read_audio


def read(path, **span):
    with VideoReader(path, **span) as reader:
        frames = list(reader)
    return frames, reader


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.endswith(".part")]


# --- probing and reading ---------------------------------------------------------------------


def test_probe_tells_size_rate_and_sound(clip):
    info = probe(clip)
    assert (info.video.width, info.video.height) == (64, 48)
    assert info.video.rate == 25 and info.video.frames == 25
    assert not info.video.variable_rate and not info.is_still
    assert info.duration_s == pytest.approx(1, abs=0.07)
    assert info.audio.rate_hz == 16_000 and info.audio.channels == 1


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60]
)
def test_constant_rates_keep_their_times_exactly(tmp_path, rate):
    path = write_video(tmp_path / "rate.mp4", frames=90, rate=rate)
    frames, reader = read(path)
    assert [f.time_s for f in frames] == [float(i / Fraction(rate)) for i in range(90)]
    assert reader.info.video.rate == rate
    assert not reader.info.video.variable_rate
    assert [f.index for f in frames] == list(range(90))


def test_uneven_times_survive_a_copy_exactly(vfr_clip, tmp_path):
    path, times_s = vfr_clip
    frames, reader = read(path)
    video = reader.info.video
    assert video.variable_rate
    assert [f.time_s for f in frames] == list(times_s)
    copy = tmp_path / "copy.mp4"
    with VideoWriter(
        copy, width=64, height=48, rate=video.rate, time_base=video.time_base
    ) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time_s)
    assert [f.time_s for f in read(copy)[0]] == list(times_s)


def test_one_dropped_frame_makes_the_rate_variable(tmp_path):
    times_s = [i / 25 for i in range(100) if i != 40]
    path = write_video(tmp_path / "drop.mp4", frames=99, times_s=times_s)
    frames, reader = read(path)
    assert [f.time_s for f in frames] == times_s
    assert reader.info.video.variable_rate


def test_first_frame_is_time_zero_when_the_stream_starts_late(tmp_path):
    frames = []
    for i in range(5):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
        frame.pts, frame.time_base = 50 + 2 * i, Fraction(1, 25)
        frames.append(frame)
    path = write_raw_video(tmp_path / "late.mkv", frames)
    assert [round(f.time_s, 3) for f in read(path)[0]] == [0, 0.08, 0.16, 0.24, 0.32]


def test_rotation_is_applied_once(rotated_clip, tmp_path):
    frames, reader = read(rotated_clip)
    video = reader.info.video
    assert (video.width, video.height, video.rotation_deg) == (48, 64, 90)
    image = frames[0].image
    assert image.shape == (64, 48, 3)
    assert image[10, 10, 0] > 200 and image[50, 40].max() < 50 and image[10, 40].max() < 50
    assert any("upright" in note for note in reader.notes)
    with VideoWriter(tmp_path / "again.mp4", width=48, height=64, rate=25) as writer:
        writer.write(image, 0.0)
    again, reader = read(tmp_path / "again.mp4")
    assert reader.info.video.rotation_deg == 0 and again[0].image.shape == (64, 48, 3)


def test_mirrored_video_is_shown_as_players_show_it(tmp_path):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:, :32] = 255
    flip = [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    path = write_raw_video(
        tmp_path / "selfie.mp4",
        [av.VideoFrame.from_ndarray(stored, format="rgb24")],
        prepare=lambda stream: stream.set_display_matrix(flip),
    )
    image = read(path)[0][0].image
    assert image[24, 50].min() > 200 and image[24, 10].max() < 50


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_one_frame_videos(tmp_path, ending, orientation):
    upright = np.zeros((64, 48, 3), np.uint8)
    upright[:32, :24] = (255, 0, 0)
    upright[32:, :24] = (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[274] = orientation
    path = tmp_path / f"p.{ending}"
    image.save(path, exif=exif, quality=95)
    frames, reader = read(path)
    assert reader.info.is_still and reader.info.video.frames == 1
    assert len(frames) == 1 and frames[0].time_s == 0 and frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 6


def test_a_span_is_exact_and_keeps_the_frame_numbers(tmp_path):
    # B-frames and a key frame every 12: most starts lie between key frames.
    path = tmp_path / "gop.mp4"
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(75)]
    write_raw_video(path, frames, options={"g": "12", "bf": "3", "crf": "5"})
    whole, _ = read(path)
    for start, end in [(0.2, 0.4), (0.48, 0.52), (1.0, None), (2.93, None), (1.01, 1.1)]:
        part, _ = read(path, start_s=start, end_s=end)
        want = [f for f in whole if f.time_s >= start and (end is None or f.time_s < end)]
        assert [(f.index, f.time_s) for f in part] == [(f.index, f.time_s) for f in want]
        assert all((a.image == b.image).all() for a, b in zip(part, want, strict=True))


def test_iterating_twice_gives_the_same(clip):
    with VideoReader(clip) as reader:
        first, second = list(reader), list(reader)
    assert len(first) == len(second) == 25
    assert all((a.image == b.image).all() for a, b in zip(first, second, strict=True))


def test_memory_does_not_grow_with_length(tmp_path):
    # 100 frames of 1.2 MB: a list of them would take 120 MB.
    still = picture(0, 800, 512)
    path = write_video(
        tmp_path / "long.mp4", frames=100, width=800, height=512, make=lambda *_: still
    )
    code = (
        "import resource, sys, os; os.sched_setaffinity(0, {0});"
        "from heygem.media import VideoReader; r = VideoReader(sys.argv[1]); i = iter(r);"
        "[next(i) for _ in range(10)];"
        "a = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "n = sum(1 for _ in i);"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - a)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    count, growth_kb = map(int, out.stdout.split())
    assert count == 90 and growth_kb < 30_000


# --- colour ----------------------------------------------------------------------------------

PATCHES = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]],
        [[255, 255, 0], [0, 255, 255], [200, 150, 120], [0, 0, 0]],
        [[90, 60, 50], [20, 30, 40], [128, 128, 128], [230, 200, 190]],
    ],
    np.uint8,
)


def patches():
    return np.repeat(np.repeat(PATCHES, 40, 0), 40, 1)


def patch_error(image):
    return int(np.abs(image[20::40, 20::40].astype(int) - PATCHES).max())


@pytest.mark.parametrize("tag", ["601", "709", "none"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_come_in_and_go_out_right(tmp_path, tag, full_range):
    matrix = Colorspace.ITU709 if tag == "709" else Colorspace.ITU601  # untagged small is 601
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(patches(), format="rgb24"),
        format="yuv420p",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full_range else 1,
        interpolation=4 | 262144 | 8192,
    )

    def prepare(stream):
        stream.codec_context.colorspace = {"601": 5, "709": 1, "none": 2}[tag]
        stream.codec_context.color_range = 2 if full_range else 1

    path = write_raw_video(tmp_path / "c.mp4", [frame], prepare=prepare, options={"crf": "1"})
    image = read(path)[0][0].image
    assert patch_error(image) <= 3
    with VideoWriter(tmp_path / "out.mp4", width=160, height=120, rate=25, crf=1) as writer:
        writer.write(image, 0.0)
    assert patch_error(read(tmp_path / "out.mp4")[0][0].image) <= 4
    with av.open(str(tmp_path / "out.mp4")) as container:  # any player must read it as BT.709
        c = container.streams.video[0].codec_context
        assert (c.colorspace, c.color_primaries, c.color_trc, c.color_range) == (1, 1, 1, 1)
        assert c.pix_fmt == "yuv420p"


def ten_bit(tmp_path, transfer):
    ramp = np.round(np.linspace(0, 65535, 160)[None, :, None] * np.ones((120, 1, 3)))
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(ramp.astype(np.uint16), format="rgb48le"),
        format="yuv420p10le",
        src_colorspace=9,
        dst_colorspace=9,
        src_color_range=2,
        dst_color_range=1,
    )
    frame.color_trc, frame.colorspace, frame.color_primaries, frame.color_range = transfer, 9, 9, 1

    def prepare(stream):
        c = stream.codec_context
        c.color_trc, c.colorspace, c.color_primaries, c.color_range = transfer, 9, 9, 1

    return write_raw_video(
        tmp_path / "ten.mp4",
        [frame],
        pixel_format="yuv420p10le",
        prepare=prepare,
        options={"crf": "5"},
    )


@pytest.mark.parametrize("transfer, name", [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_mapped_and_said(tmp_path, transfer, name):
    frames, reader = read(ten_bit(tmp_path, transfer))
    assert reader.info.video.hdr == name and reader.info.video.bit_depth == 10
    assert any(name in note for note in reader.notes)
    row = frames[0].image[60, :, 1].astype(int)
    assert (np.diff(row) >= -1).all()  # no banding back and forth
    white = {"PQ": 0.58, "HLG": 0.75}[name]  # the signal of 203 nits, BT.2408
    assert 205 < row[round(white * 159)] < 245
    assert row[0] <= 2 and row[-1] >= 245


def test_ten_bit_standard_range_is_kept_and_said(tmp_path):
    frames, reader = read(ten_bit(tmp_path, 1))
    assert reader.info.video.hdr is None
    assert any("10-bit" in note for note in reader.notes)
    assert frames[0].image[60, 80, 1] == pytest.approx(255 * 80 / 159, abs=3)


def test_transparency_goes_over_black_and_is_said(tmp_path):
    rgba = np.full((48, 64, 4), 200, np.uint8)
    rgba[:, :32, 3], rgba[:, 32:, 3] = 255, 0
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    frames, reader = read(tmp_path / "cut.png")
    assert reader.info.video.alpha
    assert (frames[0].image[:, :32] == 200).all() and (frames[0].image[:, 32:] == 0).all()
    assert any("transparen" in note for note in reader.notes)


def test_lossless_is_bit_exact_and_odd_sizes_fit(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 49, 65, 3), dtype=np.uint8)
    for ending in ("mp4", "mkv"):
        path = tmp_path / f"exact.{ending}"
        with VideoWriter(path, width=65, height=49, rate=25, lossless=True) as writer:
            for i, image in enumerate(images):
                writer.write(image, i / 25)
        assert not writer.notes
        assert all((f.image == images[f.index]).all() for f in read(path)[0])


def test_odd_sizes_are_padded_and_said(tmp_path):
    image = picture(0, 65, 49)
    path = tmp_path / "odd.mp4"
    with VideoWriter(path, width=65, height=49, rate=25, crf=5) as writer:
        writer.write(image, 0)
    assert any("65x49" in note for note in writer.notes)
    shown = read(path)[0][0].image
    assert shown.shape == (50, 66, 3)
    assert np.abs(shown[:49, :65].astype(int) - image).mean() < 3
    assert np.abs(shown[49, :65].astype(int) - image[48]).mean() < 4


def test_non_square_pixels_stay_so(tmp_path):
    path = write_video(tmp_path / "sar.mp4", pixel_aspect=Fraction(16, 15))
    assert probe(path).video.pixel_aspect == Fraction(16, 15)


# --- sound -----------------------------------------------------------------------------------


def flash_and_beep(seconds, rate=Fraction(30000, 1001), rate_hz=48_000, every_s=2.0):
    """Image maker and sound: white frames and beeps that start at the same moment."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    first = {int(np.ceil(k * every_s * rate)) for k in range(1, int(seconds / every_s))}
    sound = np.zeros(len(t), np.float32)
    for frame in first:
        at = float(frame / rate)
        on = (t >= at) & (t < at + 0.05)
        sound[on] = 0.5 * np.sin(2 * np.pi * 1000 * (t[on] - at))
    make = lambda i, w, h: np.full((h, w, 3), 255 if i in first else 0, np.uint8)  # noqa: E731
    return make, AudioTrack(sound[:, None], rate_hz), int(seconds * rate)


def measured_offsets_s(path):
    """Sound minus picture at every flash, seconds."""
    flashes = [f.time_s for f in read(path)[0] if f.image.mean() > 128]
    track = read_audio(path)
    loud = np.flatnonzero(np.abs(track.samples[:, 0]) > 0.1) / track.rate_hz
    beeps = loud[np.concatenate([[True], np.diff(loud) > 0.5])]
    assert len(flashes) == len(beeps) > 0
    return beeps - np.array(flashes)


@pytest.mark.parametrize("rate_hz, ending", [(48_000, "mp4"), (44_100, "mp4"), (16_000, "mkv")])
def test_sound_and_picture_stay_together(tmp_path, rate_hz, ending):
    make, audio, frames = flash_and_beep(20, rate_hz=rate_hz)
    path = write_video(
        tmp_path / f"sync.{ending}",
        frames=frames,
        rate=Fraction(30000, 1001),
        audio=audio,
        make=make,
    )
    assert np.abs(measured_offsets_s(path)).max() < 0.005


def test_sound_of_the_source_comes_through_at_its_own_rate(tmp_path):
    sound = tone(1.5, rate_hz=44_100, channels=2)
    path = write_video(tmp_path / "s.mp4", frames=38, audio=sound)
    back = read_audio(path)
    assert back.rate_hz == 44_100 and back.channels == 2
    assert back.duration_s == pytest.approx(1.5, abs=0.03)
    n = len(sound.samples)
    assert np.abs(back.samples[2000 : n - 2000] - sound.samples[2000:-2000]).max() < 0.05


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_sound_read_back_is_as_long_as_it_was(tmp_path, rate_hz):
    path = write_video(tmp_path / "s.mp4", frames=25, audio=tone(1.01, rate_hz))
    assert len(read_audio(path).samples) == round(1.01 * rate_hz)


def test_a_rate_aac_lacks_is_resampled_and_said(tmp_path):
    with VideoWriter(
        tmp_path / "r.mp4", width=64, height=48, rate=25, audio=tone(1, rate_hz=20_000)
    ) as writer:
        for i in range(25):
            writer.write(picture(i), i / 25)
    assert any("20000" in note for note in writer.notes)
    back = read_audio(tmp_path / "r.mp4")
    assert back.rate_hz == 22_050 and back.duration_s == pytest.approx(1, abs=0.05)
    peak = np.abs(np.fft.rfft(back.samples[:, 0] * np.hanning(len(back.samples)))).argmax()
    assert peak * 22_050 / len(back.samples) == pytest.approx(440, abs=2)


def test_streamed_and_loaded_sound_are_the_same(clip):
    assert (np.concatenate(list(AudioFile(clip).blocks())) == read_audio(clip).samples).all()


@pytest.mark.parametrize("shift_s", [-0.3, 0.4])
def test_sound_is_aligned_to_the_first_frame_of_its_own_video(tmp_path, shift_s):
    """The beep lies ``0.7 + shift_s`` after the sound starts, the sound starts at ``-shift_s``."""
    path = tmp_path / "shift.mkv"
    beep = np.zeros((48_000, 1), np.float32)
    beep[round((0.7 - shift_s) * 16_000) :][:800] = 0.5
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16_000)
        sound.layout = "mono"
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = i + 25, Fraction(1, 25)  # pictures start at 1 s
            container.mux(video.encode(frame))
        block = av.AudioFrame.from_ndarray(
            (beep.T * 32767).astype(np.int16), format="s16", layout="mono"
        )
        block.sample_rate = 16_000
        block.pts, block.time_base = round((1 + shift_s) * 16_000), Fraction(1, 16_000)
        container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    samples = read_audio(path).samples[:, 0]
    assert np.flatnonzero(np.abs(samples) > 0.1)[0] / 16_000 == pytest.approx(0.7, abs=0.002)


# --- tags ------------------------------------------------------------------------------------


def test_own_tags_survive_and_source_tags_do_not(tmp_path):
    source = write_raw_video(
        tmp_path / "phone.mov",
        [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(3)],
        tags={"com.apple.quicktime.location.ISO6709": "+48.1+011.5/", "make": "Phone"},
        container_options={"movflags": "use_metadata_tags"},
    )
    assert "Phone" in probe(source).tags.values()
    label = json.dumps({"Label": "1", "ContentProducer": '甲"乙\\\n'}, ensure_ascii=False)
    for ending in ("mp4", "mov", "mkv"):
        path = tmp_path / f"out.{ending}"
        with (
            VideoReader(source) as reader,
            VideoWriter(path, width=64, height=48, rate=25, metadata={"AIGC": label}) as writer,
        ):
            for frame in reader:
                writer.write(frame.image, frame.time_s)
        tags = probe(path).tags
        assert tags["AIGC"] == label
        assert not any("48.1" in v or "Phone" in v for v in tags.values())


def test_the_index_comes_first_so_that_playing_starts_at_once(clip):
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


# --- names -----------------------------------------------------------------------------------

NAMES = [
    "说话的人.mp4",
    'it\'s "quoted".mp4',
    "two\nlines.mp4",
    "-dash.mp4",
    "a:b.mp4",
    "http:x.mp4",
    "100%d.mp4",
    "n" * 251 + ".mp4",
    b"latin-\xe9.mp4".decode("utf-8", "surrogateescape"),
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_odd_file_names_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # relative, as a user would type it
    write_video(Path(name), frames=3, audio=tone(0.2))
    assert len(read(name)[0]) == 3
    assert read_audio(name).duration_s > 0.1
    assert leftovers(tmp_path) == []


def test_a_picture_with_a_pattern_for_a_name_is_one_picture(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "p%03d.png")
    assert len(read(tmp_path / "p%03d.png")[0]) == 1


# --- bad input -------------------------------------------------------------------------------


def refusal(call, kind=InputError):
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


def test_every_bad_input_is_one_clear_line(tmp_path, wav, silent_clip, truncated_clip):
    assert "no such file" in refusal(lambda: probe(tmp_path / "gone\n.mp4"))
    assert "folder" in refusal(lambda: probe(tmp_path))
    (tmp_path / "zero.mp4").touch()
    assert "empty" in refusal(lambda: probe(tmp_path / "zero.mp4"))
    (tmp_path / "text.mp4").write_text("this is not a video" * 50)
    assert "not media" in refusal(lambda: probe(tmp_path / "text.mp4"))
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "not media" in refusal(lambda: probe(tmp_path / "noise.mp4"))
    assert "no picture" in refusal(lambda: VideoReader(wav))
    assert "no sound" in refusal(lambda: read_audio(silent_clip))
    assert "cut short" in refusal(lambda: probe(truncated_clip))
    assert "cut short" in refusal(lambda: VideoReader(truncated_clip))


def test_playlists_are_not_followed(tmp_path, clip):
    secret = clip.rename(tmp_path / "secret.mp4")
    for name, text in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "list.txt": f"ffconcat version 1.0\nfile '{secret.name}'\n",
    }.items():
        for target in (tmp_path / name, tmp_path / f"{name}.mp4"):
            target.write_text(text)
            assert "playlist" in refusal(lambda p=target: probe(p))


def test_an_mp4_without_its_index_is_said_to_be_cut_short(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(30)]
    whole = write_raw_video(tmp_path / "w.mp4", frames)  # index at the end
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-400])
    assert "cut short" in refusal(lambda: probe(tmp_path / "cut.mp4"))


def test_a_matroska_that_ends_early_is_refused_at_its_end(tmp_path):
    noise = np.random.default_rng(0)
    whole = write_video(
        tmp_path / "w.mkv",
        frames=100,
        width=160,
        height=120,
        audio=tone(4),
        make=lambda i, w, h: noise.integers(0, 256, (h, w, 3), dtype=np.uint8),
    )
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert len(read(whole)[0]) == 100
    assert "cut short" in refusal(lambda: read(tmp_path / "cut.mkv"))


def test_interlaced_video_is_read_and_said(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i, 64, 64), format="rgb24") for i in range(5)]
    path = write_raw_video(tmp_path / "i.mp4", frames, options={"x264-params": "interlaced=1"})
    read_frames, reader = read(path)
    assert len(read_frames) == 5 and any("interlaced" in note for note in reader.notes)


def test_damaged_packets_are_skipped_and_counted(tmp_path):
    whole = write_video(tmp_path / "w.mp4", frames=100, crf=5)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    pos, size = places[50]
    data[pos : pos + size] = b"\xff" * size
    (tmp_path / "bad.mp4").write_bytes(data)
    frames, reader = read(tmp_path / "bad.mp4")
    assert len(frames) >= 98
    assert any("damaged" in note for note in reader.notes)


def test_a_video_with_many_damaged_packets_is_refused_at_its_end(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(100)]
    whole = write_raw_video(tmp_path / "w.mp4", frames, options={"g": "1"})  # key frames only
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for pos, size in places[40:50]:
        data[pos : pos + size] = b"\xff" * size
    (tmp_path / "bad.mp4").write_bytes(data)
    assert "90 of 100 frames" in refusal(lambda: read(tmp_path / "bad.mp4"))


def test_a_song_with_cover_art_is_not_a_video(tmp_path):
    cover, song = tmp_path / "c.png", tmp_path / "song.mp3"
    Image.fromarray(picture()).save(cover)
    with av.open(str(song), "w") as out, av.open(str(cover)) as art:
        sound = out.add_stream("libmp3lame", rate=44_100)
        stream = out.add_stream_from_template(art.streams.video[0])
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 44_100), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = 44_100
        for packet in art.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    assert probe(song).video is None and probe(song).audio.codec.startswith("mp3")


# --- writing, or not -------------------------------------------------------------------------


def test_nothing_is_left_of_an_aborted_video(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        with VideoWriter(target, width=64, height=48, rate=25) as writer:
            writer.write(picture(), 0)
            assert leftovers(tmp_path)
            raise KeyboardInterrupt
    assert target.read_bytes() == b"before" and leftovers(tmp_path) == []


def test_the_target_appears_only_when_whole(tmp_path):
    target = tmp_path / "out.mp4"
    writer = VideoWriter(target, width=64, height=48, rate=25)
    writer.write(picture(), 0)
    assert not target.exists()
    assert writer.close() == target and probe(target).video.frames == 1
    writer.abort()  # too late to take anything back
    assert target.exists()


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    target = tmp_path / "o.mp4"
    VideoWriter(target, width=64, height=48, rate=25)  # never closed
    mine = next(tmp_path.glob(".*.part"))
    dead = mine.rename(mine.with_name(mine.name.replace(str(os.getpid()), "999999999")))
    write_video(target, frames=2)
    assert not dead.exists() and leftovers(tmp_path) == []


def test_an_unwritable_place_is_said_with_its_reason(tmp_path):
    make = lambda path: VideoWriter(path, width=64, height=48, rate=25)  # noqa: E731
    assert "folder" in refusal(lambda: make(tmp_path / "gone" / "o.mp4"), OutputError)
    (tmp_path / "file").touch()
    assert "folder" in refusal(lambda: make(tmp_path / "file" / "o.mp4"), OutputError)
    assert ".mp4" in refusal(lambda: make(tmp_path / "o.avi"), OutputError)
    (tmp_path / "dir.mp4").mkdir()
    assert "folder" in refusal(lambda: make(tmp_path / "dir.mp4"), OutputError)
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path):
    # A limit on file size stops writes where a full disk would, without needing to be root.
    code = """
import resource, signal, sys
import numpy as np
from heygem.core.errors import OutputError
from heygem.media import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], width=320, height=240, rate=25, crf=5, preset="ultrafast") as w:
        for i in range(int(sys.argv[2])):
            w.write(noise.integers(0, 256, (240, 320, 3), dtype=np.uint8), i / 25)
except OutputError as e:
    print(e)
"""
    for frames in ("60", "3"):  # while writing, and only in the last flush
        target = tmp_path / "full.mp4"
        out = subprocess.run(
            [sys.executable, "-c", code, os.fspath(target), frames], capture_output=True, text=True
        )
        assert "cannot write" in out.stdout, out.stderr
        assert not target.exists() and leftovers(tmp_path) == []


def test_frames_that_do_not_fit_are_refused(tmp_path):
    with VideoWriter(tmp_path / "o.mp4", width=64, height=48, rate=25) as writer:
        writer.write(picture(), 0)
        with pytest.raises(ParameterError, match="increase"):
            writer.write(picture(), 0)
        with pytest.raises(ParameterError, match="48, 64"):
            writer.write(picture(0, 32, 32), 1)


def test_sound_written_from_a_file_is_streamed(tmp_path, wav):
    path = write_video(
        tmp_path / "o.mp4", audio=AudioFile(write_wav(tmp_path / "w.wav", tone(3).samples))
    )
    assert read_audio(path).duration_s == pytest.approx(3, abs=0.07)


def test_real_clips_read_whole(data):
    clips = sorted(data.glob("*/*.mp4"))[::60]
    for clip in clips:
        count = 0
        with VideoReader(clip) as reader:
            for frame in reader:
                count += 1
                shape = frame.image.shape
        assert count == reader.info.video.frames
        assert shape == (reader.info.video.height, reader.info.video.width, 3)


def test_only_the_frames_asked_for_are_given(clip):
    with VideoReader(clip) as reader:
        all_of_them = list(reader)
    with VideoReader(clip, only=[3, 11]) as reader:
        few = list(reader)
    assert [f.index for f in few] == [3, 11]
    for frame in few:
        assert frame.time_s == all_of_them[frame.index].time_s
        np.testing.assert_array_equal(frame.image, all_of_them[frame.index].image)
