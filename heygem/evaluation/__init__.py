"""Evaluation of a lips model on held-out parts of real videos.

`protocol` runs the whole. `clips` collects the videos, `split` divides each into a library part
and a held-out part, `held_out` describes the latter, `av_offset` estimates the file's own lag.
`methods` computes the rows of one clip, `rerender` renders and tracks a mouth, `baselines` has
the motions to compare with, `finetune_curve` fine-tunes on growing amounts of footage.
`motion_metrics`, `image_metrics` and `lipreading` are the metrics, `results` holds their values,
`table`, `figures`, `visuals` and `record` present and store them, `cache` keeps finished clips.
`docs/protocol.md` defines protocol and metrics.
"""

from typing import Any

__all__ = ["Clip", "EvaluateSettings", "Measure", "Results", "Row", "evaluate"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `heygem --help` does not wait for torch.
    if name == "Clip":
        from heygem.evaluation.clips import Clip

        return Clip
    if name in ("EvaluateSettings", "evaluate"):
        from heygem.evaluation import protocol

        return getattr(protocol, name)
    if name in ("Measure", "Results", "Row"):
        from heygem.evaluation import results

        return getattr(results, name)
    raise AttributeError(f"module 'heygem.evaluation' has no attribute {name!r}")
