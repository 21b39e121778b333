"""The plain 468-point face mesh (192 px) [Kartynnik et al., CVPR workshops 2019].

MediaPipe's model on LiteRT, Apache-2.0, about one millisecond a mesh on one CPU core. Avatars use
`heygem.face.attention_mesh`, whose lips close; training data use this model for faces that are
smaller than its input.
"""

import numpy as np

from heygem.core.litert import LiteRTModel
from heygem.core.types import FloatArray, Image, PathLike
from heygem.face import topology as topo
from heygem.face.detector import Region, crop_region, crop_to_image

MESH_INPUT_PX = 192


class Mesh:
    """The 468-point face mesh of one region.

    Parameters
    ----------
    path : path of `face_landmark.tflite`
    """

    def __init__(self, path: PathLike) -> None:
        self._model = LiteRTModel(path)

    def __call__(self, image: Image, region: Region) -> tuple[FloatArray, float]:
        """Fit the mesh.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB
        region : Region

        Returns
        -------
        (float32 [468, 3], float)
            Points in pixels of `image`, and the probability of a face, 0..1.
        """
        crop, to_image = crop_region(image, region, MESH_INPUT_PX)
        outputs = self._model((crop / np.float32(255))[None])
        points = next(o for o in outputs if o.size == topo.POINTS * 3).reshape(topo.POINTS, 3)
        logit = next(o for o in outputs if o.size == 1).item()
        return crop_to_image(points, to_image), float(1 / (1 + np.exp(-logit)))
