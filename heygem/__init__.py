"""HeyGem: make a person in a video speak a new audio track, on your own machine.

>>> import heygem
>>> anna = heygem.load_avatar("anna.mp4")
>>> result = heygem.generate(anna, "speech.wav", "anna-speaks.mp4")
>>> result.path, result.skipped_frames, result.warnings
"""

__version__ = "0.1.0"
__all__ = ["Params", "generate", "load_avatar", "load_models"]


def __getattr__(name):
    # Loaded when first used: `import heygem` stays instant, and `heygem --help` with it.
    if name == "Params":
        from heygem.config.params import Params

        return Params
    if name in ("generate", "load_models"):
        from heygem import pipeline

        return getattr(pipeline, name)
    if name == "load_avatar":
        from heygem.pipeline.people import load_avatar

        return load_avatar
    raise AttributeError(f"module 'heygem' has no attribute {name!r}")
