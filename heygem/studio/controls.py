"""The controls of the tuning page: which recipe keys, with which range, unit and name."""

from dataclasses import dataclass
from typing import Any

from heygem.config.params import Params
from heygem.core.i18n import Translate


@dataclass(frozen=True)
class Control:
    """One slider or checkbox.

    Attributes
    ----------
    key : str
        Dotted key of the recipe, e.g. "lips.openness_gain".
    low, high, step : float
        Range of the slider; the recipe itself accepts more. All zero for a checkbox.
    unit : str
    """

    key: str
    low: float
    high: float
    step: float
    unit: str

    @property
    def group(self) -> str:
        """Section of the recipe."""
        return self.key.partition(".")[0]

    @property
    def is_switch(self) -> bool:
        """Whether the value is a bool."""
        return self.step == 0

    def name(self, translate: Translate) -> str:
        """What the control is called on a page."""
        return translate(f"control_{self.key}")

    def help(self, translate: Translate) -> str:
        """What the control does, in a sentence."""
        return translate(f"control_{self.key}_help")


CONTROLS = (
    Control("lips.openness_gain", 0.0, 2.5, 0.05, "×"),
    Control("lips.width_gain", 0.0, 2.5, 0.05, "×"),
    Control("lips.smoothing_ms", 0.0, 200.0, 5.0, "ms"),
    Control("lips.offset_ms", -200.0, 200.0, 5.0, "ms"),
    Control("lips.closure", 0.0, 1.0, 0.05, "0–1"),
    Control("lips.expression", 0.0, 1.5, 0.05, "×"),
    Control("lips.silence_gate", 0, 0, 0, ""),
    Control("lips.silence_threshold", 0.0, 1.0, 0.05, "0–1"),
    Control("lips.fade_ms", 0.0, 400.0, 10.0, "ms"),
    Control("renderer.pose_weight", 0.0, 5.0, 0.1, "×"),
    Control("renderer.continuity_weight", 0.0, 5.0, 0.1, "×"),
    Control("renderer.color_match", 0, 0, 0, ""),
    Control("media.still_motion", 0.0, 1.5, 0.05, "×"),
)


def control_values(params: Params) -> dict[str, Any]:
    """Values of all controls in a recipe, by key."""
    flat = params.dotted()
    return {control.key: flat[control.key] for control in CONTROLS}


def control_differences(params: Params, other: Params) -> dict[str, tuple[Any, Any]]:
    """Controls that differ, by key: the value in `params` and the value in `other`."""
    values, others = control_values(params), control_values(other)
    return {key: (values[key], others[key]) for key in values if values[key] != others[key]}
