"""Face detection and the 468-point mesh with MediaPipe's models on LiteRT.

Models: BlazeFace full range (192 px) and short range (128 px) [Bazarevsky et al., 2019], and the
face mesh (192 px) [Kartynnik et al., 2019], Apache-2.0, fetched at set-up (see `heygem.core.assets`).
About one millisecond a mesh on one CPU core."""

import numpy as np

from heygem.face import topology as topo
from heygem.face.detector import crop_region, place
from heygem.face.litert import Model

MESH_INPUT_PX = 192


class Mesh:
    """The 468-point face mesh of one region."""

    def __init__(self, path):
        self._model = Model(path)

    def __call__(self, image, region):
        """Fit the mesh.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB
        region : Region

        Returns
        -------
        (float32 [468, 3], float)
            Points in pixels of `image`, and the score that a face is there (0..1).
        """
        crop, back = crop_region(image, region, MESH_INPUT_PX)
        outputs = self._model(crop / np.float32(255))
        raw = next(o for o in outputs if o.size == topo.POINTS * 3).reshape(topo.POINTS, 3)
        logit = next(o for o in outputs if o.size == 1).item()
        return place(raw, back), float(1 / (1 + np.exp(-logit)))
