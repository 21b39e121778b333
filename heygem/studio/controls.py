"""The controls of the tuning page: which recipe keys, with which range, unit and name."""

from dataclasses import dataclass
from typing import Any

from heygem.config.params import Params


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
    names : (str, str)
        English and Chinese.
    """

    key: str
    low: float
    high: float
    step: float
    unit: str
    names: tuple[str, str]

    @property
    def group(self) -> str:
        """Section of the recipe."""
        return self.key.partition(".")[0]

    @property
    def is_switch(self) -> bool:
        """Whether the value is a bool."""
        return self.step == 0

    @property
    def help(self) -> str:
        """Description of the key in the recipe's schema."""
        section, _, name = self.key.partition(".")
        settings = type(getattr(Params(), section))
        return settings.model_fields[name].description or ""


CONTROLS = (
    Control("lips.openness_gain", 0.0, 2.5, 0.05, "×", ("Opening", "张口幅度")),
    Control("lips.width_gain", 0.0, 2.5, 0.05, "×", ("Width and rounding", "嘴宽与圆唇")),
    Control("lips.smoothing_ms", 0.0, 200.0, 5.0, "ms", ("Smoothing", "平滑")),
    Control("lips.offset_ms", -200.0, 200.0, 5.0, "ms", ("Mouth delay", "嘴部延后")),
    Control("lips.closure", 0.0, 1.0, 0.05, "0–1", ("Lip closure", "闭唇力度")),
    Control("lips.silence_gate", 0, 0, 0, "", ("Close in silence", "静音时闭嘴")),
    Control("lips.silence_threshold", 0.0, 1.0, 0.05, "0–1", ("Silence threshold", "静音阈值")),
    Control("lips.fade_ms", 0.0, 400.0, 10.0, "ms", ("Silence fade", "静音过渡")),
    Control("renderer.pose_weight", 0.0, 5.0, 0.1, "×", ("Pose similarity", "姿态匹配权重")),
    Control(
        "renderer.continuity_weight", 0.0, 5.0, 0.1, "×", ("Texture continuity", "纹理连续权重")
    ),
    Control("renderer.color_match", 0, 0, 0, "", ("Match colours", "颜色匹配")),
    Control("media.still_motion", 0.0, 1.5, 0.05, "×", ("Head and eyes", "头部与眼睛")),
)


def control_values(params: Params) -> dict[str, Any]:
    """Values of all controls in a recipe, by key."""
    flat = params.dotted()
    return {control.key: flat[control.key] for control in CONTROLS}


def control_differences(params: Params, other: Params) -> dict[str, tuple[Any, Any]]:
    """Controls that differ, by key: the value in `params` and the value in `other`."""
    values, others = control_values(params), control_values(other)
    return {key: (values[key], others[key]) for key in values if values[key] != others[key]}
