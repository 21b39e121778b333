"""Face detection and the 468-point mesh with MediaPipe's models on LiteRT.

Models: BlazeFace full range (192 px) and short range (128 px) [Bazarevsky et al., 2019], and the
face mesh (192 px) [Kartynnik et al., 2019], Apache-2.0, fetched at set-up (see `heygem.core.assets`).
About one millisecond a mesh on one CPU core."""

import warnings

from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.face.attention_mesh import AttentionMesh
from heygem.face.detector import Detector


class MeshBackend:
    """Detector and mesh behind the interface that tracking asks for.

    Parameters
    ----------
    models : callable
        Name of a pretrained file to its path, such as `heygem.core.assets.path`.
    """

    name = "mediapipe"

    def __init__(self, models):
        self._full = Detector(models("face_detection_full_range_sparse.tflite"))
        self._short = Detector(models("face_detection_short_range.tflite"), short_range=True)
        # Lips that close: the gap tells a bilabial from other sounds with an AUC of 0.89, the plain
        # mesh's with 0.69 (word times of GRID).
        self._mesh = AttentionMesh(models("face_landmark_with_attention.tflite"))

    def detect(self, image):
        """All faces as Regions. The short-range model is asked when the full-range one is blind."""
        return self._full(image) or self._short(image)

    def mesh(self, image, region):
        """Mesh `float32 [468, 3]` in pixels and its score, 0..1."""
        return self._mesh(image, region)


def make_backend(settings, *, network=None):
    """The face backend that `settings` (heygem.config.params.FaceSettings) names.

    Where the weights of face-alignment cannot be had, the mesh stands in and its `notes` say so.

    Parameters
    ----------
    settings : heygem.config.params.FaceSettings
    network : callable, optional
        Loads the network of face-alignment; raises AssetError where it cannot. Default:
        `heygem.face.fan68.FanNetwork`.
    """
    if settings.backend != "face-alignment":
        return MeshBackend(assets.path)
    from heygem.face.fan68 import AlignmentBackend, FanNetwork

    try:
        return AlignmentBackend((network or FanNetwork)())
    except AssetError as error:
        note = f"face.backend face-alignment is not available, mediapipe is used; {error}"
        warnings.warn(note, stacklevel=2)
        backend = MeshBackend(assets.path)
        backend.notes = [note]
        return backend
