"""Telling people apart: an embedding of the face that light, pose and speech change little.

The network is SFace [Zhong et al., IEEE Transactions on Image Processing 2021], as published in
OpenCV's model zoo, on OpenCV. It answers with 128 numbers; two faces are compared by the cosine of
the angle between theirs. Embeddings are biometric data: nothing here writes them anywhere.
"""

import cv2
import numpy as np

from heygem.core.types import FloatArray, Image, PathLike
from heygem.face.topology import MOUTH_CORNERS

MODEL = "face_recognition_sface_2021dec_int8bq.onnx"
INPUT_PX = 112
# Where the network expects both eyes, the tip of the nose and both corners of the mouth.
_PLACES = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]], np.float32,
)  # fmt: skip
_EYES = ((33, 133), (362, 263))  # corners of each, points of the mesh
_NOSE_TIP = 4


class FaceEmbedder:
    """The network.

    Parameters
    ----------
    model : path
        `heygem.core.assets.path(MODEL)`.
    """

    def __init__(self, model: PathLike) -> None:
        self._network = cv2.dnn.readNetFromONNX(str(model))

    def embed(self, image: Image, points: FloatArray) -> FloatArray:
        """Embedding of one face.

        Parameters
        ----------
        image : uint8 [H, W, 3]
            RGB.
        points : float [468, 3]
            Mesh of the face, pixels.

        Returns
        -------
        float32 [128]
            Of unit length.
        """
        return self.embed_aligned(aligned(image, points))

    def embed_aligned(self, face: Image) -> FloatArray:
        """Embedding of a face as `aligned` gives it : float32 [128], of unit length."""
        self._network.setInput(cv2.dnn.blobFromImage(face), "data")
        return unit(self._network.forward()[0])


def aligned(image: Image, points: FloatArray) -> Image:
    """The face upright and of the network's size : uint8 [112, 112, 3]."""
    eyes = [points[list(corners), :2].mean(0) for corners in _EYES]
    corners = points[list(MOUTH_CORNERS), :2]
    places = np.stack([*eyes, points[_NOSE_TIP, :2], *corners]).astype(np.float32)
    return cv2.warpAffine(image, _similarity(places, _PLACES), (INPUT_PX, INPUT_PX))


def _similarity(source: FloatArray, target: FloatArray) -> FloatArray:
    """Least-squares rotation, scale and shift of one set of points to another : float64 [2, 3]."""
    # In the complex plane, a similarity is a product and a sum.
    one, other = (points.astype(np.float64) @ (1, 1j) for points in (source, target))
    one_mean, other_mean = one.mean(), other.mean()
    centred = one - one_mean
    turn = (centred.conj() @ (other - other_mean)) / (centred.conj() @ centred).real
    shift = other_mean - turn * one_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors of length 1 : as given, float [..., n]."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
