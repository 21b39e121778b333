"""The batched pixels against those of the CPU's renderer, which they have to equal."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers.media import gape
from helpers.rendering import plan

from heygem.avatar.library import MouthLibrary
from heygem.config.params import RendererSettings
from heygem.face.topology import LOWER, LOWER_WEIGHT
from heygem.media.colour import BT709
from heygem.media.yuv import YuvImage
from heygem.rendering.torch_warp import draw, light
from heygem.rendering.torch_warp import renderer as torch_renderer
from heygem.rendering.torch_warp.renderer import TorchWarpRenderer
from heygem.rendering.torch_warp.windows import Pictures
from heygem.rendering.warp.crossfade import fade_step
from heygem.rendering.warp.mesh_warp import sample
from heygem.rendering.warp.renderer import WarpRenderer
from heygem.rendering.warp.teeth_anchor import TeethAnchor

MAX_LEVELS = 2  # by which a pixel may differ between the two
MAX_SHARE = 5e-4  # of a mouth's values that may differ: by rounding alone
APERTURES = np.array([0.0, 0.12, 0.05, 0.16, 0.10, 0.08])
#: Pictures of the library that each frame shows: one alone, several mixed, the frame's own.
TEXTURES = [
    [(0, 1.0)],
    [(1, 0.75), (2, 0.25)],
    [(3, 1.0)],
    [(0, 0.5), (1, 0.25), (3, 0.25)],
    [(4, 1.0)],
    [(2, 1.0)],
]

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
    ),
]


@pytest.fixture(scope="module")
def person(hopper, hopper_avatar):
    """The portrait with a library of five pictures: shut and open, in other light, blurred."""
    still = WarpRenderer(hopper_avatar, RendererSettings())
    plan(still, gape(np.array([0.0, 0.1]), hopper_avatar.rest.neutral), np.zeros(2, int))
    opened = hopper_avatar.track.points[0].copy()
    moved = LOWER_WEIGHT[:, None] * (still._target_lower(1, 0) - opened[LOWER, :2])
    opened[LOWER, :2] += moved
    patch = still.render(hopper, 1)
    wide = hopper.copy()
    rows, columns = (
        slice(a, a + n) for a, n in zip((patch.y, patch.x), patch.mask.shape, strict=True)
    )
    wide[rows, columns] = patch.image
    x = np.linspace(0.75, 1.2, hopper.shape[1])[None, :, None]
    lamp = np.clip(wide * x * (1.1, 1.0, 0.8), 0, 255).astype(np.uint8)
    lipstick = hopper.copy()
    lips = opened[[61, 0, 291, 17], :2].astype(np.int32)
    cv2.fillConvexPoly(lipstick, lips, (150, 40, 70))
    pictures = [hopper, wide, lamp, cv2.GaussianBlur(wide, (0, 0), 2), lipstick]
    meshes = [hopper_avatar.track.points[0], opened, opened, opened, hopper_avatar.track.points[0]]
    corner = np.array([40, 60, 0])
    pose = hopper_avatar.pose[np.zeros(5, int)]
    library = MouthLibrary(
        np.array([0, -1, -1, -1, -1]),  # the frame itself, and other footage
        [np.ascontiguousarray(picture[60:, 40:]) for picture in pictures],
        np.repeat(corner[None, :2], 5, 0),
        np.stack(meshes) - corner,
        replace(pose, offset=pose.offset - corner.astype(np.float32)),
    )
    return replace(hopper_avatar, library=library)


def planned(person, device=None, *, reduces_faded=False):
    """A renderer of either kind, with chosen textures and teeth that are fixed to the skull."""
    if device is None:
        renderer = WarpRenderer(person, RendererSettings(), reduces_faded=reduces_faded)
    else:
        renderer = TorchWarpRenderer(person, RendererSettings(), device)
    plan(renderer, gape(APERTURES, person.rest.neutral), np.zeros(len(APERTURES), int))
    renderer._textures = TEXTURES
    shifts = np.zeros((len(person.library.crops), 2), np.float32)
    renderer._teeth = TeethAnchor(person.library.pose, 0.0, shifts, 5)
    return renderer


@pytest.fixture(scope="module")
def frames(hopper):
    """The portrait, a darker one, one out of focus, and so on."""
    dark, soft = (hopper * 0.7).astype(np.uint8), cv2.GaussianBlur(hopper, (0, 0), 3)
    return [hopper, dark, hopper, soft, dark, soft]


@pytest.fixture(scope="module")
def one_by_one(person, frames):
    renderer = planned(person)
    return [renderer.render(image, k) for k, image in enumerate(frames)]


@pytest.fixture(scope="module")
def batched(person):
    return planned(person, "cpu")


def largest_difference(drawn, expected):
    """In grey levels, over all pixels of all patches."""
    assert len(drawn) == len(expected)
    for patch, other in zip(drawn, expected, strict=True):
        assert (patch.x, patch.y) == (other.x, other.y)
        assert np.array_equal(patch.mask, other.mask)
    pairs = zip(drawn, expected, strict=True)
    return max(np.abs(a.image.astype(int) - b.image).max() for a, b in pairs)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_is_drawn_like_the_same_frames_one_by_one(person, frames, one_by_one, device):
    drawn = planned(person, device).render_batch(frames, range(len(frames)))
    assert largest_difference(drawn, one_by_one) <= MAX_LEVELS
    for patch, other in zip(drawn, one_by_one, strict=True):
        assert (patch.image != other.image)[other.mask > 0].mean() < MAX_SHARE


def test_what_is_faded_over_in_wider_pixels_looks_the_same(person, frames, one_by_one):
    assert fade_step(float(person.pose.scale[0])) == 2
    renderer = planned(person, reduces_faded=True)
    drawn = [renderer.render(image, k) for k, image in enumerate(frames)]
    # Five levels along the white teeth of the frame whose textures differ most.
    assert 0 < largest_difference(drawn, one_by_one) <= 6
    for patch, other in zip(drawn, one_by_one, strict=True):
        difference = np.abs(patch.image.astype(int) - other.image)[patch.mask > 0]
        assert (difference > 2).mean() < 0.03


@pytest.mark.fault
def test_a_mouth_that_is_cut_off_by_the_border_is_drawn(person, frames):
    renderer = planned(person, reduces_faded=True)
    x, y = person.track.points[0][[61, 0, 291, 17], :2].astype(int).T
    for bottom in range(y.min() - 4, y.max() + 6):
        assert renderer.render(np.ascontiguousarray(frames[1][:bottom]), 1) is not None
    for right in range(x.min() - 4, x.max() + 6, 3):
        assert renderer.render(np.ascontiguousarray(frames[3][:, :right]), 3) is not None


def _nothing(*_):
    return None


def _no_planes(own, other, at, windows):
    return torch.zeros(len(windows.sizes), 3, 3)


@pytest.mark.parametrize(
    ("module", "name", "other"),
    [
        (light, "match_lip_tone", _nothing),
        (light, "match_sharpness", _nothing),
        (light, "light_interior", lambda interior, *_: interior),
        (light, "fit_color_planes", _no_planes),
        (light, "gaussian_blur", lambda picture, _: picture),
        (draw, "_crossfade", _nothing),
        (draw, "_interiors", lambda textures, picture, *_: picture.clone()),
    ],
)
def test_the_comparison_shows_an_operation_that_is_left_out(
    batched, frames, one_by_one, monkeypatch, module, name, other
):
    monkeypatch.setattr(module, name, other)
    drawn = batched.render_batch(frames, range(len(frames)))
    assert largest_difference(drawn, one_by_one) > 2 * MAX_LEVELS


@pytest.mark.slow
def test_every_operation_is_computed_on_the_device(person, frames, monkeypatch):
    """Tensors of the device "meta" hold no data, and cannot be mixed with those of the CPU."""
    monkeypatch.setattr(light, "match_sharpness", _nothing)  # it reads which pictures to blur
    with pytest.raises(NotImplementedError, match="copy out of meta"):  # the finished pictures
        planned(person, "meta").render_batch(frames, range(len(frames)))


@pytest.mark.parametrize("device", DEVICES)
def test_a_face_at_the_border_is_drawn_alike(person, frames, device):
    rows = int(person.track.points[0][[0, 17], 1].max() + 8)  # the frame ends below the lips
    cut = [np.ascontiguousarray(image[:rows]) for image in frames[:2]]
    expected = [planned(person).render(image, k) for k, image in enumerate(cut)]
    drawn = planned(person, device).render_batch(cut, [0, 1])
    assert largest_difference(drawn, expected) <= MAX_LEVELS


@pytest.mark.parametrize("device", DEVICES)
def test_frames_in_planes_are_drawn_like_their_rgb(person, frames, device):
    planes = [YuvImage.from_rgb(image, BT709.matrix) for image in frames[:2]]
    renderer = planned(person, device)
    expected = [planned(person).render(image.rgb(), k) for k, image in enumerate(planes)]
    assert largest_difference(renderer.render_batch(planes, [0, 1]), expected) <= MAX_LEVELS


def test_frames_that_stay_or_fade_are_those_of_the_cpu(person, frames):
    renderer, reference = planned(person, "cpu"), planned(person)
    for one in (renderer, reference):
        one._textures = [None, *TEXTURES[1:]]
    assert renderer.render_batch(frames[:2], [0, 1])[0] is None
    for one in (renderer, reference):
        one._strength = np.array([0.3], np.float32)
    drawn = renderer.render_batch(frames[1:2], [1])
    assert np.array_equal(drawn[0].image, reference.render(frames[1], 1).image)


def test_what_is_faded_over_is_blurred_as_much_as_the_heaviest(person, frames):
    """Here the other texture is soft already, and would be blurred less by itself."""
    renderer, reference = planned(person, "cpu"), planned(person)
    for one in (renderer, reference):
        one._textures = [TEXTURES[0], [(1, 0.55), (3, 0.45)]]
    expected = reference.render(frames[5], 1)
    drawn = renderer.render_batch([frames[5]], [1])
    assert largest_difference(drawn, [expected]) <= MAX_LEVELS
    assert (drawn[0].image != expected.image)[expected.mask > 0].mean() < MAX_SHARE


@pytest.mark.parametrize("device", DEVICES)
def test_a_place_between_pixels_is_sampled_as_opencv_does(device):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((40, 57), (33, 20))]
    x, y = (rng.uniform(-6, n + 6, (50, 70)).astype(np.float32) for n in (57, 40))
    pictures = Pictures(images, torch.device(device))
    for k, image in enumerate(images):
        places = (torch.from_numpy(values.ravel()).to(device) for values in (x, y))
        which = torch.full((x.size,), k, device=device)
        sampled = pictures.sample(which, *places).cpu().numpy().reshape(50, 70, 3)
        assert np.abs(sampled - sample(image, x, y)).max() <= 1


@pytest.mark.fault
def test_memory_that_runs_out_halves_the_batch(person, frames, one_by_one, monkeypatch):
    sizes = []

    def small(geometries, views, library):
        sizes.append(len(views))
        if len(views) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw.draw(geometries, views, library)

    monkeypatch.setattr(torch_renderer, "draw", small)
    renderer = planned(person, "cpu")
    drawn = renderer.render_batch(frames, range(len(frames)))
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    assert largest_difference(drawn, one_by_one) <= MAX_LEVELS
    assert "3 frames at once: at most 1 at once" in renderer.notes[-1]


@pytest.mark.fault
def test_without_memory_for_one_frame_the_cpu_draws(person, frames, one_by_one, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch_renderer, "draw", full)
    renderer = planned(person, "cpu")
    drawn = renderer.render_batch(frames, range(len(frames)))
    assert largest_difference(drawn, one_by_one) == 0
    assert "the CPU does the rest" in renderer.notes[-1]
    monkeypatch.setattr(torch_renderer, "draw", lambda *_: pytest.fail("tried again"))
    assert len(renderer.render_batch(frames[:1], [0])) == 1
