"""The 468-point mesh with lips refined by attention: what closes when the mouth closes.

The plain mesh leaves a gap between shut lips and blurs /b/, /p/, /m/ into their neighbours. The
attention mesh [Grishchenko et al., "Attention Mesh", CVPR workshops 2020; MediaPipe, Apache-2.0]
looks at the mouth again: it cuts the lips out of an early feature map with the first fit's own
box, and a second head places 80 lip points in that cut. Only x and y are refined; depth stays the
mesh's. The eye heads are left out: under mirroring, eye corners are steadier without them.

The published file joins both parts with operations that exist in MediaPipe's runtime alone, so it
is cut there into two ordinary models at load (a tenth of a second, nothing is written), and the
cutting-out is done here. One fit is the same as in MediaPipe itself to 0.0001 px of its 192.
"""

import numpy as np

from heygem.core.errors import AssetError
from heygem.face import topology as topo
from heygem.face.detector import crop_region, place
from heygem.face.mesh import MESH_INPUT_PX
from heygem.face.topology import MIRROR

# The model numbers the picture's left half and the middle first; the other half follows in the
# same order.

_REMEDY = "run: heygem models pull"


class AttentionMesh:
    """The 468-point face mesh of one region, with refined lips.

    Every region is fitted twice, as it is and mirrored, and the two are averaged: an eighth less
    jitter of the lips and a fifth less of the jaw, for the time of a second pass.

    Parameters
    ----------
    path : path of `face_landmark_with_attention.tflite`

    Raises
    ------
    AssetError
        The file is not that model.
    """

    def __init__(self, path):
        parts = _Graph(path)
        self._mesh = _Net(parts.cut([], ["feature", "mesh", "flag"]))
        self._lips = _Net(parts.cut(["window"], ["lips"]))
        self._window = parts.window

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
        crop = crop / np.float32(255)
        points, logit = self._fit(crop)
        mirrored, other = self._fit(np.ascontiguousarray(crop[:, ::-1]))
        mirrored = mirrored[MIRROR]
        mirrored[:, 0] = MESH_INPUT_PX - mirrored[:, 0]  # 0 and 192 are the crop's very edges
        score = 1 / (1 + np.exp(-np.clip((logit + other) / 2, -80, 80)))
        return place((points + mirrored) / 2, back), float(score)

    def _fit(self, crop):
        """Points [468, 3] in pixels of `crop` [192, 192, 3], 0..1, and the face logit."""
        feature, mesh, flag = self._mesh(crop[None])
        feature, points = feature[0], mesh.reshape(topo.POINTS, 3).copy()
        stride = MESH_INPUT_PX / feature.shape[0]
        linear, shift = self._window.place(points[:, :2] / stride)
        window = self._window.sample(feature, linear, shift)
        lips = self._lips(window[None])[0].reshape(-1, 2)
        # The head answers in crop pixels per window cell: only the shift still wants the stride.
        points[self._window.points, :2] = lips @ linear.T + shift * stride
        return points, float(flag.item())


class _Window:
    """The box of a part of the face, turned with it, and the sampling of features under it.

    After MediaPipe's `landmarks_to_transform_matrix` and `transform_tensor_bilinear`, version 2,
    whose options come with the model.
    """

    def __init__(self, options):
        self.points = np.array(options["subset_idxs"])
        self._ends = options["left_rotation_idx"], options["right_rotation_idx"]
        self._turn = options["target_rotation_radians"]
        self._scale = np.array([options["scale_x"], options["scale_y"]])
        self._cells = np.array([options["output_width"], options["output_height"]])
        x, y = np.meshgrid(np.arange(self._cells[0]), np.arange(self._cells[1]))
        self._grid = np.stack([x.ravel(), y.ravel()], 1) + 0.5  # cell centres

    def place(self, points):
        """Affine map from window cells to feature cells: (linear [2, 2], shift [2])."""
        left, right = points[self._ends[0]], points[self._ends[1]]
        angle = self._turn - np.arctan2(*(right - left)[::-1])
        cos, sin = np.cos(angle), np.sin(angle)
        upright = np.array([[cos, -sin], [sin, cos]])
        turned = points[self.points] @ upright.T
        low, high = turned.min(0), turned.max(0)
        linear = upright.T * (self._scale * (high - low) / self._cells)
        centre = upright.T @ ((low + high) / 2)
        return linear, centre - linear @ (self._cells / 2)

    def sample(self, feature, linear, shift):
        """Bilinear cut of `feature` [h, w, c] -> float32 [rows, columns, c]; zero outside."""
        at = self._grid @ linear.T + shift - 0.5
        limit = np.array(feature.shape[1::-1]) - 1
        outside = ((at < 0) | (at > limit)).any(1)
        x, y = np.clip(np.floor(at), 0, limit - 1).astype(int).T
        fx, fy = (at - np.stack([x, y], 1)).astype(np.float32).T[..., None]
        upper = feature[y, x] * (1 - fx) + feature[y, x + 1] * fx
        lower = feature[y + 1, x] * (1 - fx) + feature[y + 1, x + 1] * fx
        values = upper * (1 - fy) + lower * fy
        values[outside] = 0
        return values.reshape(self._cells[1], self._cells[0], -1)


class _Graph:
    """The published model, taken apart at the operations that only MediaPipe knows."""

    def __init__(self, path):
        from ai_edge_litert import schema_py_generated as schema
        from flatbuffers import flexbuffers

        with open(path, "rb") as file:
            self._data = file.read()
        self._schema = schema
        try:
            model = self._load()
            graph = model.subgraphs[0]
            kinds = [
                (model.operatorCodes[o.opcodeIndex].customCode or b"") for o in graph.operators
            ]
            # Windows come as lips, left eye, right eye.
            box = graph.operators[kinds.index(b"Landmarks2TransformMatrix")]
            cut = graph.operators[kinds.index(b"TransformTensorBilinear")]
            back = graph.operators[kinds.index(b"TransformLandmarks")]
            named = {t.name: i for i, t in enumerate(graph.tensors)}
            self._inputs = list(graph.inputs)
            self._tensors = {
                "feature": cut.inputs[0],
                "window": cut.outputs[0],
                "lips": back.inputs[0],
                "mesh": named[b"output_mesh"],
                "flag": named[b"conv_faceflag"],
            }
            self.window = _Window(flexbuffers.Loads(bytes(bytearray(box.customOptions))))
        except Exception as error:  # the flatbuffer reader raises whatever it stumbles over
            raise AssetError(
                f"{path} is not the attention mesh model", seen=repr(error), remedy=_REMEDY
            ) from error

    def _load(self):
        schema = self._schema
        return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(self._data, 0))

    def cut(self, inputs, outputs):
        """The part between named tensors as a model of its own, bytes; no inputs: the picture."""
        import flatbuffers

        model = self._load()
        graph = model.subgraphs[0]
        inputs = [self._tensors[name] for name in inputs] or self._inputs
        outputs = [self._tensors[name] for name in outputs]
        maker = {t: i for i, o in enumerate(graph.operators) for t in o.outputs}
        needed, wanted = set(), list(outputs)
        while wanted:
            tensor = wanted.pop()
            if tensor in inputs or tensor not in maker or maker[tensor] in needed:
                continue
            needed.add(maker[tensor])
            wanted += [t for t in graph.operators[maker[tensor]].inputs if t >= 0]
        graph.operators = [graph.operators[i] for i in sorted(needed)]

        used = {t for o in graph.operators for t in [*o.inputs, *o.outputs] if t >= 0}
        used = sorted(used | set(inputs) | set(outputs))
        number = {t: i for i, t in enumerate(used)} | {-1: -1}  # -1: an optional input left out
        graph.tensors = [graph.tensors[t] for t in used]
        for operator in graph.operators:
            operator.inputs = [number[t] for t in operator.inputs]
            operator.outputs = [number[t] for t in operator.outputs]
        graph.inputs = [number[t] for t in inputs]
        graph.outputs = [number[t] for t in outputs]

        buffers = [model.buffers[0]]  # the first one is empty, by convention
        for tensor in graph.tensors:
            weights = model.buffers[tensor.buffer]
            tensor.buffer = 0 if weights.data is None else len(buffers)
            if tensor.buffer:
                buffers.append(weights)
        model.buffers = buffers
        model.metadata = model.metadataBuffer = model.signatureDefs = None
        codes = sorted({o.opcodeIndex for o in graph.operators})
        for operator in graph.operators:
            operator.opcodeIndex = codes.index(operator.opcodeIndex)
        model.operatorCodes = [model.operatorCodes[c] for c in codes]
        builder = flatbuffers.Builder(len(self._data))
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class _Net:
    """One LiteRT model from memory, on one thread."""

    def __init__(self, data):
        from ai_edge_litert.interpreter import Interpreter

        self._net = Interpreter(model_content=data, num_threads=1)
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._outputs = [o["index"] for o in self._net.get_output_details()]

    def __call__(self, values):
        self._net.set_tensor(self._input, np.asarray(values, np.float32))
        self._net.invoke()
        return [self._net.get_tensor(i) for i in self._outputs]
