"""Loading an avatar: tracked once, cached, with its unusable frames and its report."""

import numpy as np
import pytest

from heygem import avatar, media
from heygem.avatar.reasons import Reason
from heygem.config.params import FaceSettings
from heygem.core import assets
from heygem.core.errors import InputError, NoFaceError
from heygem.face import attention_mesh, backends
from heygem.face.pose import aperture, to_canonical
from heygem.face.rest import RestShape


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "avatar_folder", lambda: tmp_path / "avatars")


class Untouchable:
    """A backend that must not be called."""

    name = "mediapipe"

    def detect(self, image):
        raise AssertionError("tracked again")

    mesh = detect


def test_a_still_portrait_is_an_avatar(hopper_avatar):
    assert hopper_avatar.is_still and hopper_avatar.usable.all()
    assert hopper_avatar.report["face_px"] == pytest.approx(190, rel=0.15)
    assert hopper_avatar.speech_scale is None


@pytest.mark.slow
def test_the_second_load_tracks_nothing(talking, faces):
    first = avatar.load(talking[0], FaceSettings(), backend=faces)
    again = avatar.load(talking[0], FaceSettings(), backend=Untouchable())
    assert np.array_equal(first.track.points, again.track.points)
    assert np.array_equal(first.rest.neutral, again.rest.neutral)
    assert again.report == first.report
    assert all(
        np.array_equal(a, b) for a, b in zip(first.library.crops, again.library.crops, strict=True)
    )


def test_a_cached_person_loads_no_face_model(hopper_still, faces, monkeypatch):
    avatar.load(hopper_still, FaceSettings(), backend=faces)

    def load(*_, **__):
        raise AssertionError("a model is loaded")

    for module, name in ((backends, "Detector"), (attention_mesh, "AttentionMesh")):
        monkeypatch.setattr(module, name, load)
    avatar.load(hopper_still, FaceSettings())  # with a backend of its own
    with pytest.raises(AssertionError, match="a model is loaded"):
        avatar.load(hopper_still, FaceSettings(min_face_px=50))


@pytest.mark.slow
def test_other_settings_are_another_avatar(talking, faces):
    avatar.load(talking[0], FaceSettings(), backend=faces)
    with pytest.raises(AssertionError, match="tracked again"):
        avatar.load(talking[0], FaceSettings(min_face_px=50), backend=Untouchable())


@pytest.mark.slow
def test_a_damaged_cache_is_replaced(talking, faces, tmp_path):
    first = avatar.load(talking[0], FaceSettings(), backend=faces)
    (stored,) = (tmp_path / "avatars").glob("*.npz")
    stored.write_bytes(stored.read_bytes()[:5000])
    again = avatar.load(talking[0], FaceSettings(), backend=faces)
    assert np.array_equal(first.track.points, again.track.points)


@pytest.mark.slow
def test_tracked_opening_follows_the_truth(talking, faces):
    path, truth = talking
    person = avatar.load(path, FaceSettings(), backend=faces)
    shape = to_canonical(person.track.points, person.pose)
    assert np.corrcoef(aperture(shape), truth)[0, 1] > 0.95
    assert aperture(person.rest.neutral) < 0.03


@pytest.mark.slow
def test_the_library_has_the_pixels_of_its_frames(talking, faces):
    person = avatar.load(talking[0], FaceSettings(), backend=faces)
    library = person.library
    with media.VideoReader(talking[0]) as reader:
        images = [frame.image for frame in reader]
    for frame, crop, (x, y) in zip(library.frames, library.crops, library.corners, strict=True):
        h, w = crop.shape[:2]
        assert np.array_equal(images[frame][y : y + h, x : x + w], crop)


@pytest.mark.slow
def test_a_video_without_a_face_is_refused_in_one_line(clip, faces):
    with pytest.raises(NoFaceError, match="no face found in .*mp4; seen: 25 frames"):
        avatar.load(clip, FaceSettings(), backend=faces)


@pytest.mark.slow
def test_a_small_face_is_refused_with_its_size(hopper_still, faces):
    with pytest.raises(NoFaceError, match=r"too small; seen: 1\d\d px"):
        avatar.load(hopper_still, FaceSettings(min_face_px=400), backend=faces)


@pytest.mark.slow
def test_a_face_about_the_size_limit_does_not_switch_between_usable_and_not(talking, faces):
    limit = float(
        np.floor(10 * avatar.load(talking[0], FaceSettings(), backend=faces).report["face_px"]) / 10
    )
    person = avatar.load(
        talking[0], FaceSettings(min_face_px=limit - 0.1), backend=faces, cache=False
    )
    assert (person.track.face_px < limit - 0.1).any()
    assert person.usable.all()


def test_an_audio_file_is_refused(wav, faces):
    with pytest.raises(InputError, match="picture|video"):
        avatar.load(wav, FaceSettings(), backend=faces)


def test_a_smile_can_be_closed(hopper_avatar):
    rest = hopper_avatar.rest
    smile = rest.neutral.copy()
    from heygem.face import topology as topo

    smile[topo.INNER_LOWER[1:-1], 1] += 0.12
    closed = avatar.close_rest(RestShape(smile, rest.pose_mean, rest.pose_reach, rest.bend))
    assert aperture(smile) > 0.1
    assert abs(aperture(closed.neutral)) < 0.03
    eyes = list(topo.EYE_OUTER)
    assert np.array_equal(closed.neutral[eyes], smile[eyes])


@pytest.mark.slow
def test_a_hand_in_front_of_the_mouth_makes_frames_unusable(hopper, hopper_avatar, faces, tmp_path):
    """The mesh continues as if nothing were there; the colours around the mouth do not."""
    path = tmp_path / "hand.mp4"
    x, y = hopper_avatar.track.points[0, 13, :2].astype(int)
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=512, height=600, rate=25, crf=12
    ) as writer:
        for k in range(50):
            image = hopper.copy()
            if 20 <= k < 28:  # a sleeve's width, skin-coloured, from the left
                image[y - 40 : y + 50, : x + 60] = (205, 150, 120)
            writer.write(image, k / 25)
    person = avatar.load(path, FaceSettings(), backend=faces, cache=False)
    assert person.track.detected.all()
    assert np.flatnonzero(~person.usable).tolist() == list(range(20, 28))
    assert person.unusable_frames[Reason.OCCLUDED] == 8
    assert person.skip_reason(20) is Reason.OCCLUDED
    assert not set(range(20, 28)) & set(person.library.frames.tolist())


@pytest.mark.slow
def test_frames_of_a_dissolve_are_unusable_and_give_no_texture(hopper, faces, tmp_path):
    import cv2

    path = tmp_path / "fade.mp4"
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=512, height=600, rate=25, crf=12
    ) as writer:
        for k in range(20):
            image = hopper if k < 14 else cv2.GaussianBlur(hopper // 3 + 150, (0, 0), 6)
            writer.write(image, k / 25)
    person = avatar.load(path, FaceSettings(), backend=faces, cache=False)
    assert person.track.detected.all()
    assert person.usable.tolist() == [True] * 14 + [False] * 6
    assert person.unusable_frames[Reason.BLURRED] == 6
    assert person.library.frames.max() < 14
