"""The knobs of the tuning page: which keys of the recipe, how far, in which unit, named how."""

from dataclasses import dataclass

from heygem.config.params import Params


@dataclass(frozen=True)
class Knob:
    """One slider or switch.

    Attributes
    ----------
    key : str
        Dotted key of the recipe, e.g. "lips.openness_gain".
    low, high, step : float
        Sensible range; the recipe itself takes more. All zero for a switch.
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
    def group(self):
        """Section of the recipe."""
        return self.key.partition(".")[0]

    @property
    def is_switch(self):
        """Whether it is on or off, rather than more or less."""
        return self.step == 0

    @property
    def help(self):
        """What the recipe's schema says about the key."""
        section, _, name = self.key.partition(".")
        return _section(section).model_fields[name].description


KNOBS = (
    Knob("lips.openness_gain", 0.0, 2.5, 0.05, "×", ("Opening", "张口幅度")),
    Knob("lips.width_gain", 0.0, 2.5, 0.05, "×", ("Width and rounding", "嘴宽与圆唇")),
    Knob("lips.smoothing_ms", 0.0, 200.0, 5.0, "ms", ("Smoothing", "平滑")),
    Knob("lips.offset_ms", -200.0, 200.0, 5.0, "ms", ("Mouth later by", "嘴部延后")),
    Knob("lips.closure", 0.0, 1.0, 0.05, "0–1", ("Lip closure", "闭唇力度")),
    Knob("lips.silence_gate", 0, 0, 0, "", ("Close in silence", "静音时闭嘴")),
    Knob("lips.silence_threshold", 0.0, 1.0, 0.05, "0–1", ("Silence below", "静音阈值")),
    Knob("lips.fade_ms", 0.0, 400.0, 10.0, "ms", ("Fade at silence", "静音过渡")),
    Knob("renderer.pose_weight", 0.0, 5.0, 0.1, "×", ("Keep to like poses", "姿态匹配权重")),
    Knob("renderer.continuity_weight", 0.0, 5.0, 0.1, "×", ("Keep the texture", "纹理连续权重")),
    Knob("renderer.color_match", 0, 0, 0, "", ("Match colours", "颜色匹配")),
)


def _section(name):
    return Params.model_fields[name].annotation


def values(params):
    """Values of all knobs in a recipe: dict of key to value."""
    flat = params.dotted()
    return {knob.key: flat[knob.key] for knob in KNOBS}


def differences(params, other):
    """Knobs that differ: dict of key to (value in `params`, value in `other`)."""
    mine, theirs = values(params), values(other)
    return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}
