"""How good are the mouths? Measured on re-tracked output, with anchors nobody can argue with.

`curves` and `pixels` hold the measures, `words` reads lips, `anchors` has the mouths that have to
be beaten, `clips` what is judged, `held_out` the honest split, `own_lag` the file's own sync,
`judge` the one path every mouth takes, `few_shot` what a person's own footage adds,
`protocol.evaluate` the whole, `table` what comes out, `record` and `look` where it is kept for
reckoning and for the eye.
"""

__all__ = ["Clip", "EvaluateSettings", "Measure", "Row", "Table", "evaluate"]


def __getattr__(name):
    # Loaded when first used, so that `heygem --help` does not wait for torch.
    if name == "Clip":
        from heygem.evaluation.clips import Clip

        return Clip
    if name in ("EvaluateSettings", "evaluate"):
        from heygem.evaluation import protocol

        return getattr(protocol, name)
    if name in ("Measure", "Row", "Table"):
        from heygem.evaluation import results

        return getattr(results, name)
    raise AttributeError(f"module 'heygem.evaluation' has no attribute {name!r}")
