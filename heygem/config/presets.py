"""Ready-made settings of the mouth, by name; each says only what differs from the defaults."""

from typing import Any

#: Dotted keys and values. "natural" is what the model predicts, as the defaults draw it.
PRESETS: dict[str, dict[str, Any]] = {
    "natural": {},
    "clear": {"lips.openness_gain": 1.3, "lips.width_gain": 1.15, "lips.closure": 1.0},
    "lively": {
        "lips.openness_gain": 1.5,
        "lips.width_gain": 1.2,
        "lips.silence_threshold": 0.4,
        "lips.fade_ms": 80.0,
    },
    "calm": {"lips.openness_gain": 0.8, "lips.width_gain": 0.9, "lips.smoothing_ms": 60.0},
}
