"""Preview and tuning as a user works them, without a browser."""

import os
import shutil
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import traitlets
from helpers.media import gape, tone, write_wav

from heygem import media, pipeline
from heygem.batch import queue
from heygem.batch.worker import Worker as BatchWorker
from heygem.config.params import Params
from heygem.core.errors import Cancelled, ConsentError, InputError, OutputError, ParameterError
from heygem.core.files import hash_input
from heygem.face import topology as topo
from heygem.lips.trajectory import Trajectory
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger
from heygem.server import jupyter

pytest.importorskip("ipywidgets", reason="the notebooks extra is not installed")
pytest.importorskip("anywidget", reason="the notebooks extra is not installed")

from heygem.core import i18n  # noqa: E402
from heygem.studio import charts, file_picker, input_report, recipe_files, status, urls
from heygem.studio.background import LatestTask  # noqa: E402
from heygem.studio.controls import (
    KNOBS,
    differences,
    values,  # noqa: E402
)
from heygem.studio.downscale import downscale_image  # noqa: E402
from heygem.studio.pages import batch as line
from heygem.studio.pages.preview import (
    Preview,
    keep_upload,  # noqa: E402
)
from heygem.studio.pages.studio import Studio  # noqa: E402
from heygem.studio.pages.tuning import Tuning  # noqa: E402
from heygem.studio.session import (
    Session,
    preview_px,  # noqa: E402
)
from heygem.studio.snapshots import Snapshots  # noqa: E402

WAIT_S = 60


class LoudLips:
    """A lips model that opens the mouth with the loudness, so that tests know the answer."""

    opening_std = 0.03

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        rows = -(-len(samples) // 320)
        padded = np.pad(samples, (0, rows * 320 - len(samples))).reshape(rows, 320)
        loud = np.sqrt((padded**2).mean(1))
        return Trajectory((0.12 * loud / max(loud.max(), 1e-6))[:, None].astype("f4"), 50.0,
                          self.basis)  # fmt: skip


@pytest.fixture
def models(faces, hopper_avatar):
    lips = LoudLips(hopper_avatar.rest.neutral)
    return pipeline.Models(Params.from_dict({"device": "cpu"}), lips=lips, faces=faces)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home for the keys and avatars of these tests, so that a person is tracked once."""
    usual = urls.Path(os.environ.get("HEYGEM_HOME") or "~/.cache/heygem").expanduser()
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").symlink_to(usual / "models")
    return folder


@pytest.fixture(autouse=True)
def own_home(home, tmp_path, monkeypatch):
    """Nothing of the tests gets into the user's folders; the page's server is theirs too."""
    monkeypatch.setenv("HEYGEM_HOME", str(home))
    monkeypatch.setenv(urls.ROOT_VARIABLE, str(tmp_path))


@pytest.fixture
def speech(tmp_path):
    """Two bursts of sound in silence: at 0.4 s and at 1.2 s, 0.4 s each."""
    samples = tone(2.0, hz=220).samples[:, 0].copy()
    t = np.arange(len(samples)) / 16000
    samples[~(((t > 0.4) & (t < 0.8)) | ((t > 1.2) & (t < 1.6)))] = 0
    return write_wav(tmp_path / "speech.wav", samples)


GATE_OFF = Params.from_dict({"lips": {"silence_gate": False}})


@pytest.fixture
def session(models, talking, speech, tmp_path):
    """A workbench with the talking portrait and the bursts open."""
    made = Session(GATE_OFF, folder=tmp_path / "previews", models=models)
    made.load(talking[0], speech)
    return made


@pytest.fixture
def tuning(models, talking, speech, tmp_path):
    session = Session(GATE_OFF, folder=tmp_path / "previews", models=models)
    page = Tuning(
        video=talking[0], audio=speech, folder=tmp_path, session=session,
        recipes_folder=tmp_path / "params",
    )  # fmt: skip
    assert page.preview.worker.wait(WAIT_S)
    assert page.preview.worker.error is None
    return page


# --- work beside the main thread ---------------------------------------------------------


def test_the_newest_job_takes_the_place_of_the_running_one():
    worker, results, began = LatestTask(), [], threading.Event()

    def slow(progress, cancel):
        began.set()
        if cancel.wait(10):
            raise Cancelled("stopped")
        return "slow"

    worker.submit(slow, results.append)
    assert began.wait(5)
    for name in ("dropped", "newest"):
        worker.submit(lambda progress, cancel, name=name: name, results.append)
    assert worker.wait(5)
    assert results == ["newest"] or results == ["dropped", "newest"]
    assert not worker.busy and worker.error is None


def test_stopping_takes_less_than_a_second_and_is_no_error():
    worker, results, began = LatestTask(), [], threading.Event()

    def endless(progress, cancel):
        began.set()
        cancel.wait(30)
        raise Cancelled("stopped")

    worker.submit(endless, results.append)
    assert began.wait(5)
    asked = time.monotonic()
    worker.cancel()
    assert worker.wait(5) and time.monotonic() - asked < 1
    assert results == [] and worker.error is None


def test_a_failing_job_leaves_its_error_and_the_next_one_clears_it():
    worker = LatestTask()

    def broken(progress, cancel):
        raise InputError("the file is odd", seen="7 bytes", remedy="take another")

    worker.submit(broken)
    assert worker.wait(5) and isinstance(worker.error, InputError)
    worker.submit(lambda progress, cancel: None)
    assert worker.wait(5) and worker.error is None


def test_progress_tells_the_time_left():
    worker, seen = LatestTask(), []
    worker.observe(lambda change: seen.append(change["new"]), "remaining_s")

    def work(progress, cancel):
        progress("render", 0, 10)
        time.sleep(0.05)
        progress("render", 5, 10)

    worker.submit(work)
    assert worker.wait(5)
    assert any(0.02 < s < 1 for s in seen)


def test_errors_are_one_box_with_what_seen_and_remedy_and_nothing_unescaped():
    say = i18n.words("en")
    box = status.error_html(InputError("bad <b>", seen="<script>", remedy="mend it"), say)
    assert "What to do:</b> mend it" in box and "&lt;script&gt;" in box
    assert "<script>" not in box and "<details>" in box


# --- knobs and recipes -------------------------------------------------------------------


@pytest.mark.parametrize("knob", KNOBS, ids=lambda k: k.key)
def test_every_knob_is_a_key_of_the_recipe_that_takes_its_whole_range(knob):
    default = values(Params())[knob.key]
    if knob.is_switch:
        assert isinstance(default, bool)
        ends = [True, False]
    else:
        assert knob.low <= default <= knob.high
        ends = [knob.low, knob.high]
    for end in ends:
        assert values(Params().override({knob.key: end}))[knob.key] == end
    assert knob.help and all(knob.names)


def test_a_saved_recipe_is_commented_and_reads_back(tmp_path):
    params = Params().override({"lips.openness_gain": 1.35})
    path = recipe_files.save(params, "night 1".replace(" ", "-"), folder=tmp_path)
    assert "# how far the mouth opens" in path.read_text()
    assert recipe_files.load("night-1", folder=tmp_path) == params
    assert recipe_files.names(tmp_path) == ["night-1"]


def test_a_recipe_is_replaced_only_on_request(tmp_path):
    recipe_files.save(Params(), "a", folder=tmp_path)
    with pytest.raises(ParameterError, match="there is a recipe of that name"):
        recipe_files.save(Params(), "a", folder=tmp_path)
    changed = Params().override({"media.crf": 24})
    recipe_files.save(changed, "a", folder=tmp_path, replace=True)
    assert recipe_files.load("a", folder=tmp_path) == changed


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 99, "a b", "-a"])
def test_a_recipe_name_never_leaves_its_folder(name, tmp_path):
    with pytest.raises(ParameterError, match="not a name"):
        recipe_files.save(Params(), name, folder=tmp_path / "params")
    assert not (tmp_path / "params").exists()


def test_a_chinese_recipe_name_works(tmp_path):
    assert recipe_files.save(Params(), "晚间新闻", folder=tmp_path).name == "晚间新闻.yaml"


# --- files and addresses -----------------------------------------------------------------


def test_the_browser_lists_folders_and_media_and_hides_the_rest(clip, wav, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".secret.mp4").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    labels = [label for label, _ in file_picker.entries(tmp_path, file_picker.VIDEO_ENDINGS)]
    assert labels[0] == "../" and "sub/" in labels and "clip.mp4" in labels
    assert not {"tone.wav", ".secret.mp4", "notes.txt"} & set(labels)


def test_choosing_a_file_shows_a_small_picture_and_what_it_is(clip, tmp_path):
    browser = file_picker.FilePicker("Video", tmp_path, kind="video", say=i18n.words())
    browser.list.value = clip
    assert browser.chosen == str(clip)
    assert "64×48, 25 fps, 1.0 s" in browser.about.value
    assert 0 < len(browser.picture.value) < 20_000


def test_entering_a_folder_chooses_nothing(tmp_path):
    (tmp_path / "sub").mkdir()
    browser = file_picker.FilePicker("Video", tmp_path, kind="video", say=i18n.words())
    browser.list.value = tmp_path / "sub"
    assert browser.folder == tmp_path / "sub" and browser.chosen == ""


def test_videos_are_chosen_by_their_pictures(clip, silent_clip, tmp_path):
    (tmp_path / "empty.mp4").touch()
    one = file_picker.FilePicker("Video", tmp_path, kind="video", say=i18n.words())
    several = file_picker.FilesPicker("Videos", tmp_path, kind="video", say=i18n.words())
    for browser in (one, several):
        assert browser.strip.worker.wait(WAIT_S)
        shown = {item["name"]: item["source"][:22] for item in browser.strip.items}
        picture = "data:image/jpeg;base64"
        assert shown == {"clip.mp4": picture, "silent.mp4": picture, "empty.mp4": ""}
    one.strip.pressed = {"path": str(clip), "n": 1}
    assert one.chosen == str(clip) and one.strip.chosen == [str(clip)]
    for n, path in enumerate((silent_clip, clip, silent_clip)):
        several.strip.pressed = {"path": str(path), "n": n}
    assert several.list.value == (str(clip),) and several.strip.chosen == [str(clip)]


def test_several_videos_are_chosen_and_folders_are_entered(clip, tmp_path):
    (tmp_path / "sub" / "anna.heygem").mkdir(parents=True)
    browser = file_picker.FilesPicker("Videos", tmp_path, kind="video", say=i18n.words())
    browser.list.value = (str(clip), str(tmp_path / "sub"))
    assert browser.list.value == (str(clip),), "a folder among files says nothing"
    browser.list.value = (str(tmp_path / "sub"),)
    assert browser.place.value == str(tmp_path / "sub")
    person = str(tmp_path / "sub" / "anna.heygem")
    assert [path for _, path in browser.list.options] == [str(tmp_path), person]
    browser.list.value = (person,)
    assert browser.list.value == (person,), "a taught person is chosen as a video is"
    browser.place.value = str(tmp_path / "nowhere")
    assert "cannot read" in browser.about.value


def test_a_broken_file_is_said_in_the_browser_and_breaks_nothing(tmp_path):
    (tmp_path / "empty.mp4").touch()
    browser = file_picker.FilePicker("Video", tmp_path, kind="video", say=i18n.words())
    browser.path.value = str(tmp_path / "empty.mp4")
    assert "empty" in browser.about.value


def test_addresses_are_below_the_servers_root(tmp_path, monkeypatch):
    assert urls.page_url(tmp_path / "a b" / "嘴.mp4") == "files/a%20b/%E5%98%B4.mp4"
    with pytest.raises(OutputError, match="cannot reach"):
        urls.page_url(tmp_path.parent / "x.mp4")
    with pytest.raises(OutputError, match="hidden"):
        urls.page_url(tmp_path / ".cache" / "x.mp4")


def test_without_a_server_a_file_can_still_be_named(tmp_path, monkeypatch):
    monkeypatch.delenv(urls.ROOT_VARIABLE)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert urls.page_url(tmp_path / "x.mp4").startswith("file://")


def test_an_upload_stays_in_its_folder_and_is_small(tmp_path):
    say = i18n.words()
    kept = keep_upload({"name": "../../a b.wav", "content": memoryview(b"RIFF")}, tmp_path, say)
    assert kept.parent == tmp_path and kept.read_bytes() == b"RIFF"
    with pytest.raises(InputError, match="too large"):
        keep_upload({"name": "a.wav", "content": bytes(9 << 20)}, tmp_path, say)
    with pytest.raises(InputError, match="not a sound"):
        keep_upload({"name": "a.exe", "content": b"x"}, tmp_path, say)


def test_a_recording_becomes_the_sound_and_is_opened(tuning, tmp_path):
    page = tuning.preview
    ogg = write_wav(tmp_path / "said.webm", tone(1.5).samples, 48000, codec="libopus").read_bytes()
    message = {"kind": "recorded", "type": "audio/webm;codecs=opus"}
    page.recorder._handle_custom_msg(message, [memoryview(ogg)])
    assert page.worker.wait(WAIT_S) and page.worker.error is None
    recording = Path(page.audio.chosen)
    assert recording.suffix == ".wav" and recording.parent == page.session.folder
    assert page.session.total_s == pytest.approx(0.5, abs=0.05), "24000 samples of 48 kHz"
    assert page.clip is not None and not list(page.session.folder.glob("*.webm"))
    page.recorder._handle_custom_msg(message, [b"no sound at all"])
    assert page.worker.wait(WAIT_S)
    assert "What happened" in page.status.error.value
    page.recorder._handle_custom_msg(message, [bytes(9 << 20)])
    assert page.worker.wait(WAIT_S) and "too large" in page.status.error.value


# --- the workbench -----------------------------------------------------------------------


def test_curves_follow_the_knobs_at_once(session):
    louder = GATE_OFF.override({"lips.openness_gain": 2.0}).lips
    began = time.perf_counter()
    curves = session.aperture_curves(louder, 0.0, 2.0)
    assert time.perf_counter() - began < 0.2
    assert curves.after.max() == pytest.approx(2 * curves.before.max(), rel=0.02)
    later = session.aperture_curves(GATE_OFF.override({"lips.offset_ms": 200}).lips, 0.0, 2.0)
    assert later.times_s[np.argmax(later.after > 0.02)] - later.times_s[
        np.argmax(later.before > 0.02)
    ] == pytest.approx(0.2, abs=0.03)


def test_a_span_is_rendered_with_its_sound_and_its_label(session):
    clip = session.render(GATE_OFF, 0.4, 1.0)
    made, source = media.probe(clip.result), media.probe(clip.source)
    assert clip.frames == 25 and clip.skipped_frames == 0
    assert made.video.frames == source.video.frames == 25
    assert made.audio is not None and source.audio is None
    assert "AIGC" in made.tags and "AIGC" not in source.tags
    sound = media.read_audio(clip.result).samples[:, 0]
    assert np.abs(sound[:4000]).max() > 0.1, "the burst at 0.4 s opens the span"


def test_only_knobs_cost_time_not_the_source(session):
    first = session.render(GATE_OFF, 0.0, 1.0)
    written = first.source.stat().st_mtime_ns
    second = session.render(GATE_OFF.override({"lips.openness_gain": 2.0}), 0.0, 1.0)
    assert second.source == first.source and second.source.stat().st_mtime_ns == written
    assert second.result != first.result

    def frames(path):
        with media.VideoReader(path) as reader:
            return np.stack([frame.image for frame in reader]).astype(int)

    change = np.abs(frames(first.result) - frames(second.result)).mean((1, 2, 3))
    assert change[15:19].mean() > 3 * max(change[:5].mean(), 0.01), "it changes where it sounds"


def test_a_large_picture_is_previewed_smaller_and_looks_the_same(
    models, talking, speech, tmp_path, monkeypatch
):
    clips = []
    for longest in (600, 300):
        monkeypatch.setattr("heygem.studio.session.MAX_PREVIEW_PX", longest)
        session = Session(GATE_OFF, folder=tmp_path / "p", models=models)
        session.load(talking[0], speech)
        clips.append(session.render(GATE_OFF, 0.5, 0.4))
    for path in (clips[1].result, clips[1].source):
        video = media.probe(path).video
        assert (video.width, video.height) == (256, 300)
    lips = session._preview_avatar.track.points[15][list(topo.LIPS_OUTER), :2]
    (x0, y0), (x1, y1) = lips.min(0).astype(int) - 3, lips.max(0).astype(int) + 4
    apart = []
    with media.VideoReader(clips[0].result) as whole, media.VideoReader(clips[1].result) as small:
        for large, frame in zip(whole, small, strict=True):
            apart.append(np.abs(downscale_image(large.image, (256, 300)).astype(int) - frame.image))
    apart = np.stack(apart)
    untouched = apart[:, 100:, :60].mean()  # what the encoder alone makes of it
    assert apart[:, y0:y1, x0:x1].mean() < 1.5 * untouched + 1.5


@pytest.mark.parametrize(
    ("size", "face", "longest"),
    [((1920, 1080), 250, 1280), ((1920, 1080), 640, 960), ((1280, 720), 900, 720),
     ((512, 600), 300, 720)],
)  # fmt: skip
def test_a_large_face_is_previewed_smaller_but_never_smaller_than_it_is_shown(
    session, size, face, longest
):
    track = replace(session.avatar.track, width=size[0], height=size[1])
    person = replace(session.avatar, track=track, report={**session.avatar.report, "face_px": face})
    assert preview_px(person) == longest


def test_a_span_behind_the_end_and_a_closed_bench_are_said(session, models, tmp_path):
    with pytest.raises(InputError, match="after the end"):
        session.render(GATE_OFF, 50.0, 1.0)
    with pytest.raises(InputError, match="no audio and no video"):
        Session(models=models, folder=tmp_path / "p").render(Params(), 0.0, 1.0)


def test_a_bad_file_leaves_what_was_open(session, wav, tmp_path):
    person = session.avatar
    with pytest.raises(InputError):
        session.load(tmp_path / "absent.mp4", wav)
    assert session.avatar is person and session.is_loaded


def test_who_is_blocked_is_not_previewed_either(models, talking, speech, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "other-home"))
    consent.block(Ledger(keys=keys.ensure()), hash_input(talking[0]), reason="asked us to stop")
    with pytest.raises(ConsentError):
        Session(folder=tmp_path / "p", models=models).load(talking[0], speech)


def test_a_stopped_render_leaves_no_half_file(session):
    session.render(GATE_OFF, 0.0, 1.0)
    before = sorted(session.folder.iterdir())
    stop = threading.Event()

    def progress(stage, done, total):
        if stage == "render" and done == 5:
            stop.set()

    with pytest.raises(Cancelled):
        session.render(
            GATE_OFF.override({"media.crf": 20}), 0.0, 1.0, progress=progress, cancel=stop
        )
    assert sorted(session.folder.iterdir()) == before


def test_old_previews_are_dropped_and_kept_ones_stay(session, monkeypatch):
    monkeypatch.setattr("heygem.studio.session.MAX_CLIPS", 2)
    slots = Snapshots(session)
    first = session.render(GATE_OFF, 0.0, 0.2)
    slots.keep("A", GATE_OFF, first)
    for seed in range(4):
        last = session.render(GATE_OFF.override({"lips.smoothing_ms": float(seed)}), 0.0, 0.2)
    results = sorted(p.name for p in session.folder.glob("*-result.mp4"))
    assert first.result.exists() and last.result.exists() and len(results) == 3


# --- drawings ----------------------------------------------------------------------------


def test_drawings_are_light_and_their_ticks_are_round(session):
    say = i18n.words()
    sound = charts.sound_html(*session.audio_features(0.0, 2.0), say)
    curves = charts.curves_html(session.aperture_curves(GATE_OFF.lips, 0.0, 2.0), say)
    assert len(curves) < 12_000 and len(sound) < 120_000
    assert "nan" not in curves + sound
    assert ">0.25</span>" in charts.axis_html(0.0, 3.0)
    assert ">-0</span>" not in charts.axis_html(0.0, 3.0)


def test_silence_is_drawn_without_trouble():
    say = i18n.words()
    silent = np.zeros(16000, np.float32)
    html = charts.sound_html(silent, np.zeros(100), np.zeros((100, 80)), say)
    assert "nan" not in html and "<rect" not in html


def test_the_report_says_what_is_there(session):
    html = input_report.report_html(session)
    assert "512×600, 25 frames/s, 40 frames" in html and "px wide" in html
    assert "每秒 25 帧" in input_report.report_html(session, "zh")
    assert input_report.track_strip(session)[:2] == b"\xff\xd8"


# --- the pages ---------------------------------------------------------------------------


def test_an_empty_page_says_what_to_do_and_open_without_files_says_what_is_missing(tmp_path):
    page = Preview(folder=tmp_path, out=tmp_path / "p")
    assert "Choose a sound and a video" in page.hint.value
    page.open_button.click()
    assert page.worker.wait(WAIT_S)
    assert "no video is chosen" in page.status.error.value


def test_the_page_opens_reports_and_previews(tuning):
    page = tuning.preview
    assert page.opened and page.clip is not None
    assert page.player.result_url.endswith("-result.mp4")
    assert page.player.result_url.startswith("files/previews/")
    assert "frames/s" in page.report.value and page.player.overview
    assert "frames in" in page.took.value
    assert len(page.player.curves) > 500


def test_no_video_passes_through_the_socket(tuning):
    for name, value in tuning.preview.player.get_state().items():
        assert not isinstance(value, bytes | memoryview), name
    state = tuning.preview.player.get_state()
    assert sum(len(str(v)) for k, v in state.items() if not k.startswith("_")) < 200_000


def test_a_moved_knob_redraws_at_once_and_renders_once(tuning):
    page = tuning.preview
    first, curves = page.clip, page.player.curves
    for value in (1.1, 1.2, 1.5):  # a slider on its way
        tuning.knobs["lips.openness_gain"].value = value
    assert page.player.curves != curves and page.player.stale
    assert page.worker.wait(WAIT_S)
    assert page.clip is not first and not page.player.stale
    assert page.clip.params.lips.openness_gain == 1.5
    made = sorted(p.name for p in page.session.folder.glob("*-result.mp4"))
    assert len(made) == 2, "positions in between are not rendered"


def test_the_span_can_be_moved_and_picked_in_the_overview(tuning):
    page = tuning.preview
    page.player.picked_s = 0.5
    assert page.start.value == pytest.approx(0.5)
    assert page.worker.wait(WAIT_S)
    assert page.clip.start_s == pytest.approx(0.5) and page.player.start_s == page.clip.start_s


def test_snapshots_bring_knobs_and_picture_back_without_rendering(tuning):
    page = tuning.preview
    tuning.keep_buttons["A"].click()
    kept = page.clip
    tuning.notes["A"].value = "as it comes"
    tuning.knobs["lips.openness_gain"].value = 2.0
    assert page.worker.wait(WAIT_S) and page.clip is not kept
    tuning.show_buttons["A"].click()
    assert tuning.knobs["lips.openness_gain"].value == 1.0
    assert page.clip is kept and not page.player.stale
    assert tuning.snapshots.recall("A").note == "as it comes"
    assert tuning.snapshots.noted(page.params) == "as it comes", "goes to MLflow with the run"
    assert tuning.snapshots.noted(page.params.override({"media.crf": 20})) == ""
    assert tuning.show_buttons["B"].disabled


def test_a_snapshot_never_shows_the_picture_of_other_knobs(tuning):
    snapshots = tuning.snapshots
    other = tuning.preview.params.override({"lips.openness_gain": 2.0})
    assert snapshots.keep("B", other, tuning.preview.clip).clip is None


def test_reset_brings_all_knobs_back(tuning):
    tuning.knobs["lips.smoothing_ms"].value = 100.0
    tuning.knobs["renderer.color_match"].value = False
    tuning.reset.click()
    assert differences(tuning.preview.params, GATE_OFF) == {}
    assert tuning.preview.worker.wait(WAIT_S)


def test_a_recipe_saved_from_the_page_can_be_run_and_loaded(tuning, tmp_path, talking, speech):
    tuning.knobs["lips.openness_gain"].value = 1.4
    tuning.name.value = "mine"
    tuning.save_button.click()
    assert "mine.yaml" in tuning.said.value
    saved = Params.from_yaml(tmp_path / "params" / "mine.yaml")
    assert saved.lips.openness_gain == 1.4
    assert saved.inputs.videos == (str(talking[0]),) and saved.inputs.audio == str(speech)
    tuning.reset.click()
    tuning.known.value = "mine"
    tuning.load_button.click()
    assert tuning.knobs["lips.openness_gain"].value == 1.4
    assert tuning.preview.worker.wait(WAIT_S)


def test_a_bad_recipe_name_is_an_error_box_and_nothing_is_written(tuning, tmp_path):
    tuning.name.value = "../x"
    tuning.save_button.click()
    assert "not a name for a recipe" in tuning.box.error.value
    assert not (tmp_path / "x.yaml").exists()


def test_a_recipe_beyond_the_sliders_range_is_kept_as_it_is(tuning):
    tuning.set_params(tuning.preview.params.override({"lips.smoothing_ms": 400.0}))
    assert tuning.knobs["lips.smoothing_ms"].value == 400.0
    assert tuning.preview.params.lips.smoothing_ms == 400.0
    assert tuning.preview.worker.wait(WAIT_S)


def test_the_pages_speak_chinese(tmp_path):
    page = Tuning(folder=tmp_path, out=tmp_path / "p", lang="zh", recipes_folder=tmp_path)
    assert page.preview.open_button.description == "打开"
    assert page.knobs["lips.openness_gain"].description.startswith("张口幅度")
    assert page.preview.player.labels["play"] == "播放"


def test_widgets_keep_what_ipywidgets_itself_needs():
    """`open` and `log` belong to ipywidgets: a page that overrides them does not show up."""
    import ipywidgets

    for page in (Preview, Tuning, file_picker.FilePicker, status.StatusBar):
        own = {n for n in vars(page) if not n.startswith("_")} - {"children"}
        taken = {n for n in own if hasattr(ipywidgets.VBox, n)}
        assert taken == set(), page
    assert isinstance(LatestTask.busy, traitlets.Bool)


# --- the studio --------------------------------------------------------------------------


@pytest.fixture
def studio(tmp_path, talking, speech, monkeypatch):
    """The studio over an empty folder; its line is worked on by the test, not by a process."""
    people = tmp_path / "people"
    people.mkdir()
    shutil.copy(talking[0], people / "anna.mp4")
    (people / "broken.mp4").write_bytes(talking[0].read_bytes()[:2000])
    monkeypatch.setattr(queue.JobQueue, "start", lambda queue: None)
    recipe = {"inputs": {"output": str(tmp_path / "made")}, "mlflow": {"enabled": False}}
    page = Studio(params=Params.from_dict(recipe), folder=people, line=tmp_path / "line")
    page.batch.audio.chosen = str(speech)
    yield page
    page.batch.close()


def choose(page, *names):
    folder = page.batch.place.value
    page.batch.videos.value = tuple(f"{folder}/{name}" for name in names)


def ask(page, do, job_id, **more):
    """What the table in the page sends when somebody drags or presses."""
    page.batch.table.asked = {"do": do, "id": job_id, "n": time.monotonic(), **more}


def names(page):
    return [row["video"] for row in page.batch.table.rows]


def test_a_batch_from_choosing_to_zip_with_one_broken_item(studio, models, monkeypatch):
    monkeypatch.setattr(pipeline, "load_models", lambda params: models)
    choose(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    assert len(studio.batch.table.rows) == 2 and "0 of 2" in studio.batch.sum.value
    BatchWorker(studio.queue, idle_s=0).run()
    studio.batch.refresh()
    first, second = studio.batch.table.rows
    assert first["state"] == "done" and first["share"] == 1, first["error"]
    assert second["state"] == "failed" and "broken.mp4" in second["error"]
    assert "What happened" in second["error"] and "What to do" in second["error"]
    assert second["can"] == ["retry", "remove"] and first["can"] == ["remove"]
    assert "1 of 2 finished, 1 failed" in studio.batch.sum.value and studio.batch.bar.value == 1
    studio.batch.illustrate()
    assert studio.batch.table.pictures[first["path"]].startswith("data:image/jpeg;base64,")

    studio.selected_index = 2
    assert studio.history.looker.wait(WAIT_S)
    (card,) = studio.history.cards.children
    assert len(card.children[0].value) < 20_000, "a thumbnail, not the video"
    studio.history.zip_button.click()
    assert studio.history.worker.wait(WAIT_S) and "1 videos" in studio.history.link.value
    with zipfile.ZipFile(studio.history.folder / "results.zip") as archive:
        names = sorted(archive.namelist())
    assert [Path(name).suffix for name in names] == [".json", ".mp4"]

    play, delete = card.children[2].children
    play.click()
    assert studio.history.player.result_url.endswith("anna-speech.mp4")
    assert "openness_gain: 1.0" in studio.history.about.value
    studio.history.trace_button.click()
    assert studio.history.worker.wait(WAIT_S)
    assert "Made here on" in studio.history.traced.value, studio.history.traced.value
    delete.click()
    assert (studio.history.folder / "anna-speech.mp4").exists(), "the first press only asks"
    delete.click()
    assert not (studio.history.folder / "anna-speech.mp4").exists()
    assert studio.history.looker.wait(WAIT_S) and studio.history.cards.children == ()
    assert studio.history.player.result_url == ""


def test_adding_nothing_says_what_is_missing(studio):
    studio.batch.add_button.click()
    assert "no video is chosen" in studio.batch.box.value
    choose(studio, "anna.mp4")
    studio.batch.audio.chosen = ""
    studio.batch.add_button.click()
    assert "needs a video and a sound" in studio.batch.box.value
    assert studio.queue.jobs() == []


def test_the_line_is_ordered_stopped_and_cleared_by_buttons(studio):
    choose(studio, "anna.mp4", "broken.mp4")
    studio.batch.add_button.click()
    first, second = (row["id"] for row in studio.batch.table.rows)
    ask(studio, "move", second, places=-1)
    assert names(studio) == ["broken.mp4", "anna.mp4"]
    ask(studio, "place", second, before=None)
    assert names(studio) == ["anna.mp4", "broken.mp4"]
    ask(studio, "cancel", first)
    assert [row["state"] for row in studio.batch.table.rows] == ["cancelled", "waiting"]
    ask(studio, "retry", first)
    studio.batch.stop_button.click()
    assert {row["state"] for row in studio.batch.table.rows} == {"cancelled"}
    ask(studio, "remove", first)
    assert names(studio) == ["broken.mp4"]
    ask(studio, "remove", first)
    assert "no such job" in studio.batch.box.value, "somebody else has taken it out"


def test_a_pasted_table_becomes_jobs_whole_or_not_at_all(studio, speech, tmp_path):
    batch = studio.batch
    batch.mode.value = "pairs"
    assert batch.chooser.layout.display == "none" and batch.pairs.layout.display == "flex"
    batch.pairs.rows.value = f"anna.mp4\t{speech}\nabsent.mp4\t{speech}\n"
    batch.pairs.button.click()
    assert "pair 2: no such file" in batch.box.value and batch.table.rows == []
    assert "absent.mp4" in batch.pairs.rows.value, "what was written is still there to mend"
    batch.pairs.rows.value = f"""video,audio,text,name,lips.openness_gain
anna.mp4,{speech},,,1.4
broken.mp4,,Good evening,evening,
"""
    batch.pairs.button.click()
    assert batch.box.value == "" and batch.pairs.rows.value == ""
    assert [row["video"] for row in batch.table.rows] == ["anna.mp4", "evening"]
    first, second = studio.queue.jobs()
    assert first.video == str(tmp_path / "people" / "anna.mp4")
    assert Params.from_dict(first.params).lips.openness_gain == 1.4
    assert second.text == "Good evening" and second.audio == ""
    batch.pairs.button.click()
    assert "the table is empty" in batch.box.value
    batch.pairs.rows.value = "video\nanna.mp4"  # with the sound that is chosen
    batch.pairs.button.click()
    assert studio.queue.jobs()[-1].audio == str(speech)


def test_one_pair_is_added_from_the_browsers(studio, speech, tmp_path):
    studio.batch.mode.value = "pairs"
    studio.batch.add_button.click()
    assert "no video is chosen" in studio.batch.box.value
    studio.batch.person.chosen = str(tmp_path / "people" / "anna.mp4")
    studio.batch.add_button.click()
    assert names(studio) == ["anna.mp4"]


def test_pairs_of_the_notebook_stand_in_the_table(speech, tmp_path):
    rows = [{"video": "anna.mp4", "audio": str(speech), "lips.offset_ms": 40}]
    recipe = {"inputs": {"output": str(tmp_path / "made"), "pairs": rows}}
    page = Studio(params=Params.from_dict(recipe), folder=tmp_path, line=tmp_path / "line")
    assert page.batch.mode.value == "pairs"
    (pair,) = page.batch.pairs.read()
    assert pair.video == "anna.mp4" and pair.changes == {"lips.offset_ms": 40}
    page.batch.close()


def test_the_time_left_is_told_from_the_first_item_on():
    def job(state, **more):
        return queue.Job(state, "v.mp4", "a.wav", {}, 1.0, state=state, length_s=10.0, **more)

    drawing = {"stage": "render", "done": 1, "total": 4, "elapsed_s": 5.0, "left_s": 15.0}
    running, waiting = job("running", progress=drawing), job("waiting")
    assert line.seconds_left([waiting]) is None
    assert line.seconds_left([running, waiting, waiting]) == pytest.approx(15 + 2 * 20)
    done = job("done", seconds=40.0)
    assert line.seconds_left([done, waiting]) == pytest.approx(40)
    assert line.share([done, running, waiting, job("failed")]) == pytest.approx(1.25 / 3)
    said = line.summary([done, running, waiting], True, i18n.words())
    assert said == "1 of 3 finished, 0 failed · 45 s left"


def test_a_line_whose_process_has_died_goes_on_with_the_page_open(studio, monkeypatch):
    choose(studio, "anna.mp4")
    studio.batch.add_button.click()
    started = []
    monkeypatch.setattr(queue.JobQueue, "start", lambda queue: started.append(1))
    studio.batch.refresh()
    assert not started, "nobody has said start"
    (studio.queue.folder / ".call").touch()  # somebody did, and no process is there
    studio.batch.refresh()
    studio.batch.refresh()
    assert started == [1], "not again and again"


def test_a_page_opened_again_finds_the_line(studio, tmp_path):
    choose(studio, "anna.mp4")
    studio.batch.add_button.click()
    again = Studio(params=studio.params, folder=tmp_path, line=tmp_path / "line")
    assert [row["path"] for row in again.batch.table.rows] == [
        str(tmp_path / "people" / "anna.mp4")
    ]
    again.batch.close()


def test_the_system_tab_says_what_the_machine_has_and_warns(studio, monkeypatch):
    assert "GB free" in studio.system.text.value and "⚠" not in studio.system.text.value
    monkeypatch.setattr("heygem.studio.pages.system.LOW_DISK_GB", 1e9)
    studio.system.button.click()
    assert "Little disk space" in studio.system.text.value
    assert "none; the next job loads" in studio.system.text.value
    assert studio.system.dismiss_button.disabled


def test_the_models_in_memory_are_shown_and_can_be_let_go(studio):
    thread = threading.Thread(target=BatchWorker(studio.queue, make=print, idle_s=30).run)
    thread.start()
    deadline = time.monotonic() + 10
    while studio.system.dismiss_button.disabled:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        studio.system.refresh()
    assert "idle with its models loaded" in studio.system.text.value
    studio.system.dismiss_button.click()
    thread.join(10)
    assert not thread.is_alive()
    studio.system.button.click()
    assert studio.system.dismiss_button.disabled


def test_the_whole_video_goes_from_the_single_tab_into_the_line(studio, speech, tmp_path):
    studio.single.button.click()
    assert "needs a video and a sound" in studio.single.said.value
    studio.single.preview.video.chosen = str(tmp_path / "people" / "anna.mp4")
    studio.single.preview.audio.chosen = str(speech)
    studio.single.button.click()
    assert "Added to the queue" in studio.single.said.value
    studio.batch.refresh()
    assert names(studio) == ["anna.mp4"]


def test_the_studio_refuses_an_open_address_without_tls_and_hides_its_token(monkeypatch):
    with pytest.raises(ParameterError, match="without TLS"):
        jupyter.studio_command(port=7860, browser=False, host="0.0.0.0")
    for argv in (
        jupyter.studio_command(port=7860, browser=False),
        jupyter.lab_command(port=8888, notebook="notebooks/01_preview.ipynb", browser=False),
    ):
        assert "--ServerApp.ip=127.0.0.1" in argv
        assert any(jupyter.CONTENT_SECURITY_POLICY in word for word in argv), (
            "pages load nothing from elsewhere"
        )
        assert not any("secret" in word for word in argv)
    assert jupyter.environment("secret")["JUPYTER_TOKEN"] == "secret"


# --- the notebooks -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["01_preview", "02_tuning", "04_studio"])
def test_a_notebook_runs_under_papermill_without_a_page(name, talking, speech, tmp_path):
    papermill = pytest.importorskip("papermill")
    given = {"inputs": {"output": str(tmp_path / "made")}, "mlflow": {"enabled": False}}
    if name != "04_studio":
        given["inputs"] |= {"videos": [str(talking[0])], "audio": str(speech)}
    source = Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
    done = papermill.execute_notebook(
        str(source), str(tmp_path / "done.ipynb"), parameters=given, cwd=str(tmp_path),
        progress_bar=False, store_widget_state=False,
    )  # fmt: skip
    kinds = [
        kind
        for cell in done.cells
        for output in cell.get("outputs", ())
        for kind in output.get("data", {})
    ]
    assert "application/vnd.jupyter.widget-view+json" in kinds
    assert (tmp_path / "done.ipynb").stat().st_size < 2_000_000
    if name != "04_studio":
        assert "image/png" in kinds, "frames of the preview are in the notebook"


def test_a_notebook_refuses_a_mistyped_key(tmp_path):
    papermill = pytest.importorskip("papermill")
    source = Path(__file__).parents[2] / "notebooks" / "02_tuning.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="openness_gain"):
        papermill.execute_notebook(
            str(source), str(tmp_path / "done.ipynb"), cwd=str(tmp_path), progress_bar=False,
            parameters={"lips": {"opennes_gain": 1.2}},
        )  # fmt: skip
