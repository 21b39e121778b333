"""How good are the mouths? Measured on re-tracked output, with anchors nobody can argue with.

`curves` and `pixels` hold the measures, `anchors` the mouths that have to be beaten, `held_out`
the honest split, `judge` the one path every mouth takes, `protocol.evaluate` the whole, `table`
what comes out, `record` where it is kept.
"""

__all__ = ["Clip", "EvaluateSettings", "Measure", "Row", "Table", "evaluate"]


def __getattr__(name):
    # Loaded when first used, so that `heygem --help` does not wait for torch.
    if name in ("Clip", "EvaluateSettings", "evaluate"):
        from heygem.evaluate import protocol

        return getattr(protocol, name)
    if name in ("Measure", "Row", "Table"):
        from heygem.evaluate import table

        return getattr(table, name)
    raise AttributeError(f"module 'heygem.evaluate' has no attribute {name!r}")
