"""Engines, lips models and trajectories of one's own: drawn, recorded, or refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.home import home_with_models
from helpers.media import gape, tone, write_wav
from helpers.rendering import plan, timeline_of
from helpers.wav2lip import write_random_checkpoint

import heygem
from heygem import media, pipeline
from heygem.batch.item import manifest
from heygem.config.params import Params, RendererSettings
from heygem.core import plugins
from heygem.core.errors import AssetError, ParameterError
from heygem.lips.motion import RecordedMotion
from heygem.lips.trajectory import Trajectory
from heygem.rendering.base import BatchRenderer, Patch
from heygem.rendering.warp.renderer import WarpRenderer

QUICK = {"device": "cpu", "media": {"crf": 0, "preset": "ultrafast"}}
QUICK |= {"label": {"watermark": False, "c2pa": False}}


class Sine:
    """A lips model that opens and shuts the mouth twice a second."""

    opening_std = 0.04
    about = {}

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict(self, samples):
        t = np.arange(-(-len(samples) // 320)) / 50
        return Trajectory((0.05 - 0.05 * np.cos(4 * np.pi * t))[:, None], 50.0, self.basis)


class RedSquare:
    """A renderer that paints a red square on the chin."""

    uses_motion = False

    def __init__(self, avatar, params, models):
        self.avatar = avatar

    def plan(self, motion, samples, timeline):
        assert motion is None and samples.ndim == 1
        self.order = timeline.order

    def render(self, image, index):
        x, y = self.avatar.track.points[self.order[index], 152, :2].astype(int) - 8
        red = np.broadcast_to(np.uint8([255, 0, 0]), (16, 16, 3))
        return Patch(red, np.ones((16, 16), np.float32), int(x), int(y))


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A HEYGEM_HOME that holds only this machine's models."""
    monkeypatch.setenv("HEYGEM_HOME", str(home_with_models(tmp_path / "home")))


@pytest.fixture
def sine(hopper_avatar):
    return Sine(hopper_avatar.rest.neutral)


@pytest.fixture
def speech(tmp_path):
    return write_wav(tmp_path / "speech.wav", tone(0.6, hz=200).samples[:, 0])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("models"))


def offer(monkeypatch, **values):
    """Entry points, as an installed package would offer them."""
    points = [
        SimpleNamespace(name=name, value=f"package:{name}", load=lambda value=value: value)
        for name, value in values.items()
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


def frames_of(path):
    with media.VideoReader(path) as reader:
        return [frame.image for frame in reader]


@pytest.mark.slow
def test_wav2lip_records_what_it_drew_and_nothing_else(
    talking, speech, checkpoint, faces, sine, tmp_path
):
    params = Params.from_dict(QUICK | {"engine": "wav2lip", "checkpoint": str(checkpoint)})
    models = pipeline.Models(params, lips=sine, faces=faces)
    result = heygem.generate(talking[0], speech, tmp_path / "out.mp4", params, models=models)
    assert result.trajectory is None and result.manifest["engine"] == "wav2lip"
    assert not {"measures", "opening_scale"} & set(result.manifest)
    assert result.frames == 15 and not result.skipped_frames
    changed = [
        (a != b).any() for a, b in zip(frames_of(talking[0]), frames_of(result.path), strict=False)
    ]
    assert all(changed)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"engine": "wav2lip", "lips.openness_gain": 1.2}, "lips.openness_gain"),
        ({"engine": "wav2lip", "lips.model": "mine.safetensors"}, "lips.model"),
        ({"engine": "wav2lip", "renderer.feather": 0.2}, "renderer.feather"),
        ({"engine": "warp", "checkpoint": "wav2lip.pth"}, "checkpoint"),
    ],
)
def test_a_setting_without_effect_for_the_engine_is_refused_by_name(settings, name):
    with pytest.raises(ParameterError, match=f"{name}.*no effect with engine"):
        Params.from_dict(settings)


def test_the_offset_has_an_effect_with_wav2lip():
    assert Params.from_dict({"engine": "wav2lip", "lips.offset_ms": 40}).lips.offset_ms == 40


def test_an_unknown_engine_is_an_error_that_names_the_nearest():
    with pytest.raises(ParameterError, match="warb.*did you mean 'warp'"):
        Params.from_dict({"engine": "warb"})


@pytest.mark.slow
def test_a_given_trajectory_is_drawn_exactly(talking, speech, faces, sine, tmp_path):
    custom = replace(sine.predict(np.zeros(9600)), coefficients=np.full((30, 1), 0.09, np.float32))
    params = Params.from_dict(QUICK | {"lips": {"openness_gain": 3.0}})
    models = pipeline.Models(params, lips=sine, faces=faces)
    with pytest.raises(ParameterError, match="lips.openness_gain.*no effect on a trajectory"):
        heygem.generate(
            talking[0], speech, tmp_path / "a.mp4", params, models=models, trajectory=custom
        )
    params = Params.from_dict(QUICK)
    result = heygem.generate(
        talking[0], speech, tmp_path / "a.mp4", params, models=models, trajectory=custom
    )
    assert result.trajectory is custom and "opening_scale" not in result.manifest


@pytest.mark.slow
def test_a_trajectory_is_refused_where_the_engine_draws_none(
    talking, speech, checkpoint, faces, sine, tmp_path
):
    params = Params.from_dict(QUICK | {"engine": "wav2lip", "checkpoint": str(checkpoint)})
    models = pipeline.Models(params, lips=sine, faces=faces)
    trajectory = sine.predict(np.zeros(9600))
    with pytest.raises(ParameterError, match="trajectory has no effect with engine: wav2lip"):
        heygem.generate(
            talking[0], speech, tmp_path / "a.mp4", params, models=models, trajectory=trajectory
        )
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.slow
def test_a_package_offers_an_engine_by_name(talking, speech, faces, sine, tmp_path, monkeypatch):
    offer(monkeypatch, square=RedSquare)
    params = Params.from_dict(QUICK | {"engine": "square"})
    models = pipeline.Models(params, lips=sine, faces=faces)
    result = heygem.generate(talking[0], speech, tmp_path / "out.mp4", params, models=models)
    avatar = pipeline.load_person(talking[0], params.face, backend=faces)
    x, y = avatar.track.points[3, 152, :2].astype(int)
    assert frames_of(result.path)[3][y, x].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert manifest.model_hashes(params)["engine"] == "heygem.renderers:square"


@pytest.mark.slow
def test_an_engine_that_cannot_be_loaded_is_named(hopper_avatar, monkeypatch):
    def fail():
        raise ImportError("no module named square")

    point = SimpleNamespace(name="square", value="package:square", load=fail)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    params = Params.from_dict({"engine": "square"})
    with pytest.raises(AssetError, match="'square' cannot be loaded.*no module named square"):
        pipeline.make_renderer(hopper_avatar, params, SimpleNamespace(device="cpu"))


def test_a_package_offers_a_lips_model_by_name(faces, sine, monkeypatch):
    offer(monkeypatch, sine=lambda: sine)
    models = pipeline.Models(Params.from_dict({"lips.model": "sine", "device": "cpu"}), faces=faces)
    assert models.lips is sine and models.lips_sha256 == "heygem.lips:sine"
    hashes = manifest.model_hashes(Params.from_dict({"lips.model": "sine"}))
    assert hashes["lips"] == "heygem.lips:sine"


@pytest.mark.slow
def test_frames_do_not_depend_on_the_order_in_which_they_are_rendered(hopper, hopper_avatar):
    """The portrait has no teeth: its interior is synthetic, with colours fixed by the plan."""
    motion = RecordedMotion(gape(np.linspace(0, 0.16, 6), hopper_avatar.rest.neutral))
    timeline, silence = timeline_of(np.zeros(6, int)), np.zeros(0, np.float32)

    def rendered(order):
        renderer = WarpRenderer(hopper_avatar, RendererSettings())
        renderer.plan(motion, silence, timeline)
        patches = {index: renderer.render(hopper, index) for index in order}
        return [patches[index] for index in range(6)]

    for a, b in zip(rendered(range(6)), rendered(reversed(range(6))), strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


@pytest.mark.slow
def test_threads_give_the_same_frames_in_the_same_order(hopper, hopper_avatar):
    motion = RecordedMotion(gape(np.linspace(0, 0.16, 8), hopper_avatar.rest.neutral))
    timeline = replace(timeline_of(np.zeros(8, int)), spoken=6)
    renderer = WarpRenderer(hopper_avatar, RendererSettings())
    renderer.plan(motion, np.zeros(0, np.float32), timeline)
    one, several = (
        list(pipeline.finished_frames([hopper] * 8, renderer, timeline, threads=n)) for n in (1, 3)
    )
    assert [frame.index for frame in several] == list(range(8))
    assert [frame.patch is None for frame in one] == [False] * 6 + [True] * 2
    for a, b in zip(one, several, strict=True):
        assert np.array_equal(a.image, b.image)


def test_a_device_that_is_no_cpu_draws_in_batches(hopper, hopper_avatar):
    """The same pictures, whatever the size of a batch; PyTorch's CPU stands for a GPU."""
    batched = pipeline.make_renderer(hopper_avatar, Params(), SimpleNamespace(device="cpu:0"))
    alone = pipeline.make_renderer(hopper_avatar, Params(), SimpleNamespace(device="cpu"))
    timeline = replace(timeline_of(np.zeros(5, int)), spoken=4)
    films = []
    for renderer, size in ((alone, 1), (batched, 2), (batched, 8)):
        displacement = gape(np.linspace(0, 0.1, 5), hopper_avatar.rest.neutral)
        plan(renderer, displacement, timeline.order)
        frames = list(pipeline.finished_frames([hopper] * 5, renderer, timeline, batch_size=size))
        assert [frame.index for frame in frames] == list(range(5))
        assert frames[4].patch is None and frames[4].image is hopper
        films.append(np.stack([frame.image for frame in frames]).astype(int))
    assert isinstance(batched, BatchRenderer) and not isinstance(alone, BatchRenderer)
    assert np.ptp(films[0][:4], axis=0).max() > 50  # the mouth opens
    assert max(np.abs(film - films[0]).max() for film in films) <= 2
