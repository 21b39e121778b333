"""The 468-point mesh with lips refined by attention, so that a closed mouth has closed lips.

The plain mesh leaves a gap between closed lips and blurs /b/, /p/, /m/ into their neighbours. The
attention mesh [Grishchenko et al., "Attention Mesh", CVPR workshops 2020; MediaPipe, Apache-2.0]
fits the mouth a second time: it samples the lips out of an early feature map, in the box that the
first fit gives, and a second head predicts 80 lip points there. Only x and y are refined; depth
stays the mesh's. The eye heads are left out: with mirroring, eye corners jitter less without them.
For a still portrait, whose eyes are to blink, `AttentionEyes` reads them.

The published file joins both parts with operations that exist in MediaPipe's runtime alone. It is
split there into two ordinary models at load (0.1 s, nothing is written), and the sampling is done
here. A single fit equals MediaPipe's own to 0.0001 px of its 192.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from heygem.core.errors import AssetError
from heygem.core.litert import LiteRTModel
from heygem.core.types import FloatArray, Image, IntArray, PathLike
from heygem.face import topology as topo
from heygem.face.detector import Region, crop_region, crop_to_image, region_of
from heygem.face.mesh import MESH_INPUT_PX
from heygem.face.topology import MIRROR

EYES = ("right_eye", "left_eye")  # of the person, as their heads follow each other
_REMEDY = "run: heygem models pull"


class AttentionMesh:
    """The 468-point face mesh of one region, with refined lips; used like `mesh.Mesh`.

    Every region is fitted twice, as it is and mirrored, and the two are averaged: an eighth less
    jitter of the lips and a fifth less of the jaw. Both passes run at the same time, in two
    threads.

    Parameters
    ----------
    path : path of `face_landmark_with_attention.tflite`

    Raises
    ------
    AssetError
        The file is not that model.
    """

    def __init__(self, path: PathLike) -> None:
        model = _PublishedModel(path)
        mesh = model.subgraph([], ["feature", "mesh", "flag"])
        lips = model.subgraph(["lips_window"], ["lips"])
        self._fit, self._fit_mirrored = (_Fit(mesh, lips, model.windows["lips"]) for _ in range(2))
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="mirrored mesh")

    def __call__(self, image: Image, region: Region) -> tuple[FloatArray, float]:
        """Fit the mesh: points `float32 [468, 3]` in pixels of `image`, and the score, 0..1."""
        crop, to_image = crop_region(image, region, MESH_INPUT_PX)
        scaled = crop / np.float32(255)
        beside = self._beside.submit(self._fit_mirrored, np.ascontiguousarray(scaled[:, ::-1]))
        points, logit = self._fit(scaled)
        mirrored, mirrored_logit = beside.result()
        mirrored = mirrored[MIRROR]
        mirrored[:, 0] = MESH_INPUT_PX - mirrored[:, 0]  # 0 and 192 are the crop's very edges
        score = 1 / (1 + np.exp(-np.clip((logit + mirrored_logit) / 2, -80, 80)))
        return crop_to_image((points + mirrored) / 2, to_image), float(score)


class _Fit:
    """One pass of the mesh and of the lips; not for several threads at once."""

    def __init__(self, mesh: bytes, lips: bytes, window: "AttentionWindow") -> None:
        self._mesh = LiteRTModel(mesh)
        self._lips = _PartHead(lips, window)

    def __call__(self, crop: FloatArray) -> tuple[FloatArray, float]:
        """Points [468, 3] in pixels of `crop` [192, 192, 3], 0..1, and the face logit."""
        features, mesh, flag = self._mesh(crop[None])
        feature, points = features[0], mesh.reshape(topo.POINTS, 3).copy()
        indices, contour = self._lips(feature, points)
        points[indices, :2] = contour
        return points, float(flag.item())


class AttentionEyes:
    """The contours of the eyes in a mesh, fitted a second time by the attention mesh's eye heads.

    Parameters
    ----------
    path : path of `face_landmark_with_attention.tflite`

    Raises
    ------
    AssetError
        The file is not that model.
    """

    def __init__(self, path: PathLike) -> None:
        model = _PublishedModel(path)
        self._mesh = LiteRTModel(model.subgraph([], ["feature", "mesh"]))
        self._parts = [
            _PartHead(model.subgraph([f"{eye}_window"], [eye]), model.windows[eye]) for eye in EYES
        ]

    def __call__(self, image: Image, points: FloatArray) -> FloatArray:
        """A mesh `float32 [468, 3]` in pixels of `image`, with x and y around the eyes refined."""
        crop, to_image = crop_region(image, region_of(points), MESH_INPUT_PX)
        features, mesh = self._mesh((crop / np.float32(255))[None])
        feature, crop_points = features[0], mesh.reshape(topo.POINTS, 3).copy()
        refined = [part(feature, crop_points) for part in self._parts]
        for indices, contour in refined:
            crop_points[indices, :2] = contour
        out = points.copy()
        in_image = crop_to_image(crop_points, to_image)
        for indices, _ in refined:
            out[indices, :2] = in_image[indices, :2]
        return out


class _PartHead:
    """The network that fits one part of the face, and its window in the feature map."""

    def __init__(self, head: bytes, window: "AttentionWindow") -> None:
        self._window = window
        self._head = LiteRTModel(head)

    def __call__(self, feature: FloatArray, points: FloatArray) -> tuple[IntArray, FloatArray]:
        """Indices of the part's points, and their x and y [n, 2] in pixels of the crop.

        Parameters
        ----------
        feature : float32 [h, w, c]
        points : float32 [468, 3]
            The whole mesh, in pixels of the crop.
        """
        stride = MESH_INPUT_PX / feature.shape[0]
        linear, shift = self._window.locate(points[:, :2] / stride)
        window = self._window.sample(feature, linear, shift)
        contour = self._head(window[None])[0].reshape(-1, 2)
        # The head predicts crop pixels per window cell: only the shift is scaled by the stride.
        return self._window.points, contour @ linear.T + shift * stride


class AttentionWindow:
    """The rotated box of a part of the face, and the sampling of a feature map in it.

    After MediaPipe's `landmarks_to_transform_matrix` and `transform_tensor_bilinear`, version 2,
    whose options come with the model.

    Parameters
    ----------
    options : mapping
        `subset_idxs`, `left_rotation_idx`, `right_rotation_idx`, `target_rotation_radians`,
        `scale_x`, `scale_y`, `output_width`, `output_height`.

    Attributes
    ----------
    points : int [n]
        Mesh points of that part.
    """

    def __init__(self, options: Any) -> None:
        self.points = np.array(options["subset_idxs"])
        self._ends = options["left_rotation_idx"], options["right_rotation_idx"]
        self._target_angle = options["target_rotation_radians"]
        self._scale = np.array([options["scale_x"], options["scale_y"]])
        self._cells = np.array([options["output_width"], options["output_height"]])
        x, y = np.meshgrid(np.arange(self._cells[0]), np.arange(self._cells[1]))
        self._grid = np.stack([x.ravel(), y.ravel()], 1) + 0.5  # cell centres

    def locate(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Affine map from window cells to feature cells: (linear [2, 2], shift [2])."""
        left, right = points[self._ends[0]], points[self._ends[1]]
        angle = self._target_angle - np.arctan2(*(right - left)[::-1])
        cos, sin = np.cos(angle), np.sin(angle)
        upright = np.array([[cos, -sin], [sin, cos]])
        rotated = points[self.points] @ upright.T
        low, high = rotated.min(0), rotated.max(0)
        linear = upright.T * (self._scale * (high - low) / self._cells)
        centre = upright.T @ ((low + high) / 2)
        return linear, centre - linear @ (self._cells / 2)

    def sample(self, feature: FloatArray, linear: FloatArray, shift: FloatArray) -> FloatArray:
        """Bilinear samples of `feature` [h, w, c] : float32 [rows, columns, c]; zero outside."""
        from heygem.face.kernels import sample_bilinear  # loads compiled code

        values = np.empty((self._cells[1], self._cells[0], feature.shape[2]), np.float32)
        positions = self._grid @ linear.T + shift - 0.5
        sample_bilinear(feature, positions, values.reshape(len(positions), -1))
        return values


class _PublishedModel:
    """The published model, split at the operations that only MediaPipe's runtime has."""

    def __init__(self, path: PathLike) -> None:
        from ai_edge_litert import schema_py_generated as schema
        from flatbuffers import flexbuffers

        self._data = Path(path).read_bytes()
        self._schema = schema
        try:
            model = self._load()
            graph = model.subgraphs[0]
            kinds = [
                (model.operatorCodes[o.opcodeIndex].customCode or b"") for o in graph.operators
            ]
            boxes, samplings, heads = (
                [graph.operators[i] for i, name in enumerate(kinds) if name == kind]
                for kind in (
                    b"Landmarks2TransformMatrix",
                    b"TransformTensorBilinear",
                    b"TransformLandmarks",
                )
            )
            tensor_of = {t.name: i for i, t in enumerate(graph.tensors)}
            self._inputs = list(graph.inputs)
            self._tensors = {
                "feature": samplings[0].inputs[0],
                "mesh": tensor_of[b"output_mesh"],
                "flag": tensor_of[b"conv_faceflag"],
            }
            self.windows = {}
            # Of the heads, each eye's is followed by that of its iris.
            heads = [heads[0], heads[1], heads[3]]
            for part, box, sampling, head in zip(
                ("lips", *EYES), boxes, samplings, heads, strict=True
            ):
                options = flexbuffers.Loads(bytes(bytearray(box.customOptions)))
                self.windows[part] = AttentionWindow(options)
                self._tensors[f"{part}_window"] = sampling.outputs[0]
                self._tensors[part] = head.inputs[0]
        except Exception as error:  # the flatbuffer reader raises errors of any class
            raise AssetError(
                f"{path} is not the attention mesh model", seen=repr(error), remedy=_REMEDY
            ) from error

    def _load(self) -> Any:
        schema = self._schema
        return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(self._data, 0))

    def subgraph(self, inputs: list[str], outputs: list[str]) -> bytes:
        """The part between named tensors as a model file; no inputs: from the model's own input."""
        import flatbuffers

        model = self._load()
        graph = model.subgraphs[0]
        input_ids = [self._tensors[name] for name in inputs] or self._inputs
        output_ids = [self._tensors[name] for name in outputs]
        graph.operators = _operators_between(graph, input_ids, output_ids)
        _keep_used_tensors(graph, input_ids, output_ids)
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


def _operators_between(graph: Any, inputs: list[int], outputs: list[int]) -> list[Any]:
    """Operators that compute `outputs` from `inputs`, in the order of the graph."""
    producer = {t: i for i, o in enumerate(graph.operators) for t in o.outputs}
    needed: set[int] = set()
    pending = list(outputs)
    while pending:
        tensor = pending.pop()
        if tensor in inputs or tensor not in producer or producer[tensor] in needed:
            continue
        needed.add(producer[tensor])
        pending += [t for t in graph.operators[producer[tensor]].inputs if t >= 0]
    return [graph.operators[i] for i in sorted(needed)]


def _keep_used_tensors(graph: Any, inputs: list[int], outputs: list[int]) -> None:
    """Drop tensors that no operator of `graph` uses, and renumber the others."""
    in_use = {t for o in graph.operators for t in [*o.inputs, *o.outputs] if t >= 0}
    order = sorted(in_use | set(inputs) | set(outputs))
    number = {t: i for i, t in enumerate(order)} | {-1: -1}  # -1: an optional input left out
    graph.tensors = [graph.tensors[t] for t in order]
    for operator in graph.operators:
        operator.inputs = [number[t] for t in operator.inputs]
        operator.outputs = [number[t] for t in operator.outputs]
    graph.inputs = [number[t] for t in inputs]
    graph.outputs = [number[t] for t in outputs]
