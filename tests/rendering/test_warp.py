"""Mouth pixels, and everything that must not change with them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from helpers.media import gape
from helpers.rendering import plan
from scipy import ndimage

from heygem import avatar, media
from heygem.avatar.library import MouthLibrary
from heygem.config.params import FaceSettings, RendererSettings
from heygem.core.errors import ParameterError
from heygem.face import topology as topo
from heygem.face.pose import aperture, to_canonical
from heygem.rendering.base import Patch
from heygem.rendering.compose import paste
from heygem.rendering.warp import blend, mouth_interior
from heygem.rendering.warp.mouth_interior import MouthInterior
from heygem.rendering.warp.renderer import WarpRenderer, replacement_strength
from heygem.rendering.warp.texture_selection import _parted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def person(talking, faces):
    return avatar.load(talking[0], FaceSettings(), backend=faces, cache=False)


@pytest.fixture(scope="module")
def images(talking):
    with media.VideoReader(talking[0]) as reader:
        return [frame.image for frame in reader]


def draw(person, images, displacement):
    order = np.arange(len(displacement))
    renderer = WarpRenderer(person, RendererSettings())
    plan(renderer, displacement, order)
    return [renderer.render(images[k], k) for k in order]


@pytest.mark.fault
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, 2.5])
def test_a_movement_that_no_face_makes_is_refused(hopper_avatar, value):
    displacement = gape(np.full(3, 0.1), hopper_avatar.rest.neutral)
    displacement[1, 7, 0] = value
    renderer = WarpRenderer(hopper_avatar, RendererSettings())
    with pytest.raises(ParameterError, match="cannot be drawn"):
        plan(renderer, displacement, np.zeros(3, int))


@pytest.mark.slow
def test_the_largest_movement_is_drawn(hopper_avatar):
    with media.VideoReader(hopper_avatar.path) as reader:
        image = next(iter(reader)).image
    displacement = gape(np.array([2.0]), hopper_avatar.rest.neutral)
    patch = draw(hopper_avatar, [image], displacement)[0]
    assert patch.mask.max() > 0.9 and patch.image.shape[0] <= image.shape[0]


def tracked_opening(person, pictures, faces):
    """Lip gap of rendered pictures, tracked again, in IOD."""
    from heygem.face.detector import region_of

    points = np.stack(
        [
            faces.mesh(picture, region_of(person.track.points[k]))[0]
            for k, picture in enumerate(pictures)
        ]
    )
    return aperture(to_canonical(points, person.pose[: len(points)]))


@pytest.mark.slow
def test_pixels_outside_the_mask_are_the_sources_own(person, images):
    for image, patch in zip(
        images, draw(person, images, gape(np.full(40, 0.1), person.rest.neutral)), strict=True
    ):
        result = paste(image, patch)
        outside = np.ones(image.shape[:2], bool)
        h, w = patch.mask.shape
        outside[patch.y : patch.y + h, patch.x : patch.x + w] = patch.mask == 0
        assert np.array_equal(result[outside], image[outside])
        assert (result[~outside] != image[~outside]).any()
        assert outside[: image.shape[0] // 4].all()  # hair and brow are never touched


def test_nothing_of_the_frames_own_mouth_shows_through_a_narrow_opening(person, images):
    """Where the soft edges of both lips meet, the opening is transparent: lips lie below it."""
    openings = np.linspace(0.005, 0.06, len(images))
    for patch in draw(person, images, gape(openings, person.rest.neutral)):
        replaced = patch.mask > 0
        np.testing.assert_array_equal(ndimage.binary_fill_holes(replaced), replaced)


def test_the_rim_of_the_region_is_seamless(person, images):
    image, patch = images[3], draw(person, images, gape(np.full(40, 0.12), person.rest.neutral))[3]
    result = paste(image, patch)
    mask = np.zeros(image.shape[:2], np.uint8)
    h, w = patch.mask.shape
    mask[patch.y : patch.y + h, patch.x : patch.x + w] = patch.mask > 0
    rim = (mask > 0) & (cv2.erode(mask, np.ones((5, 5), np.uint8)) == 0)
    change = np.abs(result[rim].astype(int) - image[rim].astype(int))
    assert change.mean() < 2.0


@pytest.mark.slow
def test_the_same_mouth_gives_the_same_picture(person, images):
    own = person.displacement()
    for k in (4, 12, 25):
        patch = draw(person, images, own)[k]
        window = images[k][patch.y : patch.y + patch.mask.shape[0]]
        window = window[:, patch.x : patch.x + patch.mask.shape[1]].astype(float)
        error = ((patch.image - window) ** 2)[patch.mask > 0].mean()
        assert 10 * np.log10(255**2 / error) > 32


@pytest.mark.slow
@pytest.mark.parametrize("aperture", [0.05, 0.14])
def test_the_mouth_opens_as_far_as_the_motion_demands(person, images, faces, aperture):
    patches = draw(person, images, gape(np.full(40, aperture), person.rest.neutral))
    pictures = [paste(i, p) for i, p in zip(images, patches, strict=True)]
    assert np.median(tracked_opening(person, pictures, faces)) == pytest.approx(aperture, abs=0.035)


@pytest.mark.slow
def test_in_silence_the_mouth_is_shut_and_still_whatever_the_source_says(person, images, faces):
    source = tracked_opening(person, images, faces)
    patches = draw(person, images, gape(np.zeros(40), person.rest.neutral))
    shut = tracked_opening(
        person, [paste(i, p) for i, p in zip(images, patches, strict=True)], faces
    )
    assert source.std() > 0.04
    assert shut.max() < 0.03
    assert shut.std() < 0.12 * source.std()


def test_a_portrait_with_shut_lips_gets_an_inside(hopper, hopper_avatar, faces):
    renderer = WarpRenderer(hopper_avatar, RendererSettings())
    plan(renderer, gape(np.array([0.0, 0.16]), hopper_avatar.rest.neutral), np.zeros(2, int))
    shut, wide = (paste(hopper, renderer.render(hopper, k)) for k in range(2))
    opening = [tracked_opening(hopper_avatar, [p], faces)[0] for p in (shut, wide)]
    assert opening[0] < 0.03 and opening[1] > 0.09
    # The opening is darker than the lips were: a cavity, not stretched lip.
    lips = hopper_avatar.track.points[0][[13, 14], :2].mean(0)
    x, y = int(lips[0]), int(lips[1] + 0.1 * hopper_avatar.pose.scale[0])
    assert wide[y - 1 : y + 2, x - 6 : x + 6].mean() < hopper[y - 1 : y + 2, x - 6 : x + 6].mean()


def test_frames_that_cannot_be_used_pass_and_the_change_is_gradual(person):
    usable = person.usable.copy()
    usable[20:25] = False
    broken = replace(person, usable=usable)
    strength = replacement_strength(broken)
    assert (strength[20:25] == 0).all() and strength[0] == 1 and strength[-1] == 1
    assert 0 < strength[19] < strength[18] <= 1 and 0 < strength[25] < strength[26] <= 1
    renderer = WarpRenderer(broken, RendererSettings())
    plan(renderer, gape(np.zeros(40), person.rest.neutral), np.arange(40))
    assert renderer.render(np.zeros((600, 512, 3), np.uint8), 22) is None


@pytest.mark.slow
def test_a_mouth_being_handed_over_keeps_the_inside_of_its_own_frame(person, images, faces):
    opening = tracked_opening(person, images, faces)
    wide = int(5 + opening[5:35].argmax())
    usable = person.usable.copy()
    usable[wide + 1] = False
    renderer = WarpRenderer(replace(person, usable=usable), RendererSettings())
    plan(renderer, gape(np.zeros(40), person.rest.neutral), np.arange(40))
    assert 0 < renderer._strength[wide] < 0.5
    white = images[wide].copy()
    lips = person.track.points[wide][topo.LIPS_INNER, :2]
    cv2.fillPoly(white, [np.rint(lips).astype(np.int32)], (235, 228, 220))
    result = paste(white, renderer.render(white, wide))
    # A quarter of the way from a wide mouth to a shut one: still open, over the same teeth.
    left = tracked_opening(person, [*images[:wide], result], faces)[-1]
    assert 0.4 * opening[wide] < left < opening[wide]
    x, y = np.rint(person.track.points[wide][[13, 14], :2].mean(0)).astype(int)
    assert result[y - 2 : y + 3, x - 4 : x + 5].mean() > 125  # half white, half a dark interior


def test_lips_that_a_frame_hides_draw_no_halo_on_the_skin(hopper_avatar):
    mesh = hopper_avatar.track.points[0][:, :2]
    x0, y0 = np.floor(mesh[topo.LIPS_OUTER].min(0) - 30).astype(int)
    x1, y1 = np.ceil(mesh[topo.LIPS_OUTER].max(0) + 30).astype(int)
    points = mesh - (x0, y0)
    distance = blend.lip_distance(points, (y1 - y0, x1 - x0))
    skin = np.full((y1 - y0, x1 - x0, 3), (200, 160, 140), np.uint8)
    lipstick = np.where(distance[..., None] <= 0, np.float32((150, 30, 60)), skin)
    matched = lipstick.copy()
    opening = blend.interior_mask(points, distance.shape)
    blend.match_lip_tone(matched, skin, opening, distance, 20.0)
    tone = matched - lipstick
    assert 5 < tone[distance <= 0].max() < 25  # some of the way, not into skin's colour
    assert np.abs(tone[distance > 9]).max() == 0


def test_teeth_take_the_tint_of_the_lamp_and_not_of_the_skin():
    """A picture from under a blue lamp goes into an orange frame; a flush of the skin does not."""
    skin, teeth = np.float32((150, 120, 100)), np.float32((180, 175, 165))
    blue, orange = np.float32((0.8, 1.0, 1.3)), np.float32((1.2, 1.0, 0.5))
    there = skin * blue
    moved = np.broadcast_to(teeth * blue, (20, 20, 3)).astype(np.float32)
    correction = np.zeros((3, 3), np.float32)
    correction[0] = skin * orange - there
    blend.light_interior(moved, correction, np.s_[:, :], there)
    expected = teeth * orange
    assert np.abs(moved - expected).max() < 0.15 * expected.max()
    assert np.abs(moved[..., 2] / moved[..., 0] - expected[2] / expected[0]).max() < 0.12
    flushed = np.ones((20, 20, 3), np.float32)
    correction[0] = 6, -3, -3
    blend.light_interior(flushed, correction, np.s_[:, :], there)
    assert np.allclose(flushed, 1, atol=0.02)


def test_texture_changes_are_rare(person):
    renderer = WarpRenderer(person, RendererSettings())
    opening = 0.07 - 0.07 * np.cos(np.arange(120) / 40 * 2 * np.pi)
    plan(renderer, gape(opening, person.rest.neutral), np.arange(120) % 40)
    main = [w[0][0] for w in renderer._textures]
    changes = np.count_nonzero(np.diff(main))
    assert 2 <= changes < 90
    assert all(abs(sum(x for _, x in w) - 1) < 1e-6 for w in renderer._textures)


def test_teeth_that_glint_between_shut_lips_are_seen(hopper, hopper_avatar):
    mesh, pose = hopper_avatar.track.points[:1], hopper_avatar.pose[:1]
    seam = (mesh[0, topo.INNER_UPPER[2:9], :2] + mesh[0, topo.INNER_LOWER[2:9], :2]) / 2
    shut, glint, parted = hopper.copy(), hopper.copy(), hopper.copy()
    for x, y in np.rint(seam[1:6:2]).astype(int):
        glint[y : y + 1, x - 1 : x + 2] = 230
    cv2.polylines(parted, [np.rint(seam).astype(np.int32)], False, (15, 5, 5), 3)
    library = MouthLibrary(
        np.arange(3),
        [shut, glint, parted],
        np.zeros((3, 2), int),
        np.repeat(mesh, 3, 0),
        pose[np.zeros(3, int)],
    )
    a, b, c = _parted(library)
    assert a < 0.03 and b > a + 0.1 and c > a + 0.1


def test_teeth_a_person_shows_stay_when_the_rest_is_drawn(hopper, hopper_avatar):
    mesh = hopper_avatar.track.points[0][:, :2].copy()
    line = (mesh[topo.INNER_UPPER] + mesh[topo.INNER_LOWER]) / 2
    width = line[-1, 0] - line[0, 0]
    arch = np.sin(np.linspace(0, np.pi, 11))[:, None] * (0, 1)

    def opened(share):
        points = mesh.copy()
        points[topo.INNER_UPPER], points[topo.INNER_LOWER] = line, line + share * width * arch
        return points.astype(np.float32)

    little, wide = opened(0.09), opened(0.40)
    blue = hopper.copy()  # teeth that no drawing would have
    cv2.fillPoly(blue, [np.rint(little[topo.LIPS_INNER]).astype(np.int32)], (40, 60, 220))
    inside = MouthInterior()
    out = blue.astype(np.float32)
    inside.fill(blue, little, wide, 1.0, out)
    x, y = np.rint(line[5]).astype(int)
    depth = 0.40 * width
    own, below = out[y + 2, x], out[int(y + 0.5 * depth), x]
    assert own[2] > 2 * own[0]
    assert below[0] > below[2] and below.max() < 120  # the drawn cavity, warm and dark


def test_a_synthetic_interior_is_drawn_once_for_previews_of_the_same_picture(
    hopper, hopper_avatar, monkeypatch
):
    mesh = hopper_avatar.track.points[0][:, :2]
    lips = mesh[[13, 14, 61, 291]] + np.array([[0, 0], [0, 40], [0, 0], [0, 0]], np.float32)
    drawn = []
    draw = mouth_interior._synthesize
    monkeypatch.setattr(mouth_interior, "_synthesize", lambda *args: drawn.append(1) or draw(*args))
    inside = MouthInterior()
    for crop in (hopper, hopper, hopper.copy()):
        inside.clear()
        inside.prepare(crop, mesh, *lips, zoom=1.0)
    assert len(drawn) == 2


def test_paste_mixes_by_the_mask():
    image = np.full((4, 4, 3), 100, np.uint8)
    patch = Patch(np.full((2, 2, 3), 200, np.uint8), np.array([[0, 0.5], [1, 0]], np.float32), 1, 1)
    out = paste(image, patch)
    assert out[1, 1, 0] == 100 and out[1, 2, 0] == 150 and out[2, 1, 0] == 200
    assert (image == 100).all()
    assert paste(image, None) is image
