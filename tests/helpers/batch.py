"""A stand-in for the pipeline, and tables of pairs, for the tests of batches."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from heygem import media
from heygem.config.params import Params
from heygem.core.errors import Cancelled, InputError
from heygem.core.publish import publishing
from heygem.lips.trajectory import Trajectory


class PipelineStub:
    """Replaces `heygem.pipeline`: writes a small video, or fails as the input's first word says."""

    def __init__(self):
        self.generated = []
        self.loaded = 0

    def load_models(self, params):
        self.loaded += 1
        return SimpleNamespace(
            encode_audio=lambda path, settings, predict: None, forget_audio=lambda path: None
        )

    def generate(self, video, audio, out, params, *, models, may_replace, progress, cancel, **_):
        kind = Path(video).read_bytes().split(b" ")[0]
        if kind == b"faceless":
            raise InputError("no face", seen=video, remedy="give another")
        if kind == b"crash":
            raise ZeroDivisionError("bang\nbang")
        progress("render", 0, 2)
        with (
            publishing(out, inputs=[video, audio], may_replace=may_replace) as part,
            media.VideoWriter(
                part, label=media.RecordedFrames(), width=64, height=64, rate=25
            ) as writer,
        ):
            for i in range(5):
                if cancel.is_set():
                    raise Cancelled("stopped on request")
                writer.write(np.full((64, 64, 3), 40 * i, np.uint8), i / 25)
                if kind == b"cancel" and i == 2:
                    cancel.set()
                if kind == b"interrupt" and i == 2:
                    raise KeyboardInterrupt
        self.generated.append(Path(video).name)
        return SimpleNamespace(
            path=out,
            manifest={"avatar": {"face_px": np.float32(3)}},
            duration_s=0.2,
            frames=5,
            skipped_frames={"no face": 1},
            timings={"render_s": 0.5},
            warnings=["a warning"],
            trajectory=Trajectory(np.zeros((10, 1), np.float32), 50.0, np.zeros((1, 900, 3))),
            stills=(),
        )


def write_table(folder, text, name="table.csv", encoding="utf-8-sig") -> str:
    """Write a table of pairs; returns its path."""
    (folder / name).write_bytes(text.encode(encoding))
    return str(folder / name)


def pairs_recipe(pairs, **more) -> Params:
    """A recipe with a table of pairs (path or rows) and no MLflow."""
    return Params.from_dict(
        {"inputs": {"pairs": pairs, "output": "out"}, "mlflow": {"enabled": False}, **more}
    )
