"""Running a LiteRT (TensorFlow Lite) model on one CPU thread."""

from collections.abc import Sequence

import numpy as np

from heygem.core.types import FloatArray, PathLike


class LiteRTModel:
    """A model with one input.

    Parameters
    ----------
    model : path or bytes
        A `.tflite` file, or its content.
    input_shape : sequence of int, optional
        In place of the model's own; all its operations must allow it.
    """

    def __init__(
        self, model: PathLike | bytes, *, input_shape: Sequence[int] | None = None
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter

        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        self._interpreter = Interpreter(**source, num_threads=1)
        self._input = self._interpreter.get_input_details()[0]["index"]
        if input_shape is not None:
            self._interpreter.resize_tensor_input(self._input, list(input_shape))
        self._interpreter.allocate_tensors()
        self._outputs = [o["index"] for o in self._interpreter.get_output_details()]

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """All outputs for one input of the model's own shape, batch axis included."""
        self._interpreter.set_tensor(self._input, np.asarray(batch, np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(i) for i in self._outputs]
