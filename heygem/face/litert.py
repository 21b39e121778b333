"""Face detection and the 468-point mesh with MediaPipe's models on LiteRT.

Models: BlazeFace full range (192 px) and short range (128 px) [Bazarevsky et al., 2019], and the
face mesh (192 px) [Kartynnik et al., 2019], Apache-2.0, fetched at set-up (see `heygem.core.assets`).
About one millisecond a mesh on one CPU core."""

import numpy as np


class Model:
    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        self._net = Interpreter(str(path), num_threads=1)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._outputs = [o["index"] for o in self._net.get_output_details()]

    def __call__(self, image):
        self._net.set_tensor(self._input, image[None].astype(np.float32))
        self._net.invoke()
        return [self._net.get_tensor(i) for i in self._outputs]
