"""The face backends: MediaPipe's models by default, the `face-alignment` package on request."""

import warnings
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING

from heygem.config.params import FaceSettings
from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.core.types import FloatArray, Image, PathLike
from heygem.face.detector import Detector, Region
from heygem.face.fan68 import AlignmentBackend, FanNetwork, LandmarkNetwork

if TYPE_CHECKING:
    from heygem.face.attention_mesh import AttentionMesh

FULL_RANGE, SHORT_RANGE = "face_detection_full_range_sparse", "face_detection_short_range"
#: Its lips close: the gap tells a bilabial from other sounds with an AUC of 0.89, the plain mesh's
#: with 0.69 (word times of GRID).
MESH = "face_landmark_with_attention"


class MediaPipeBackend:
    """BlazeFace detectors and the attention mesh.

    Parameters
    ----------
    models : callable
        Name of a pretrained file to its path, such as `heygem.core.assets.path`.

    Attributes
    ----------
    notes : list of str
        Choices made at set-up, in words.
    """

    name = "mediapipe"

    def __init__(self, models: Callable[[str], PathLike]) -> None:
        # Looked up now, so that a missing file is named before any work.
        self._paths = {name: models(f"{name}.tflite") for name in (FULL_RANGE, SHORT_RANGE, MESH)}
        self.notes: list[str] = []

    # Loaded when a picture is to be looked at: a person whose track is cached needs none of them.

    @cached_property
    def _full_range(self) -> Detector:
        return Detector(self._paths[FULL_RANGE])

    @cached_property
    def _short_range(self) -> Detector:
        return Detector(self._paths[SHORT_RANGE], short_range=True)

    @cached_property
    def _mesh(self) -> "AttentionMesh":
        from heygem.face.attention_mesh import AttentionMesh  # reads a model's schema: 0.1 s

        return AttentionMesh(self._paths[MESH])

    def detect(self, image: Image) -> list[Region]:
        """All faces, best first; the short-range model runs where the full-range one finds none."""
        return self._full_range(image) or self._short_range(image)

    def mesh(self, image: Image, region: Region) -> tuple[FloatArray, float]:
        """Mesh `float32 [468, 3]` in pixels and its score, 0..1."""
        return self._mesh(image, region)


def make_backend(
    settings: FaceSettings,
    *,
    device: str | None = None,
    network: Callable[[], LandmarkNetwork] | None = None,
) -> MediaPipeBackend | AlignmentBackend:
    """The face backend that `settings` names.

    Where the weights of face-alignment are not available, MediaPipe's models stand in, and the
    backend's `notes` record it.

    Parameters
    ----------
    settings : FaceSettings
    device : str, optional
        Where face-alignment computes; see `FanNetwork`. MediaPipe's models run on the CPU.
    network : callable, optional
        Loads the network of face-alignment or raises AssetError. Default: `FanNetwork`.
    """
    if settings.backend != "face-alignment":
        return MediaPipeBackend(assets.path)
    try:
        return AlignmentBackend((network or partial(FanNetwork, device))())
    except AssetError as error:
        note = f"face.backend face-alignment is not available, mediapipe is used; {error}"
        warnings.warn(note, stacklevel=2)
        backend = MediaPipeBackend(assets.path)
        backend.notes.append(note)
        return backend
