"""Controls of the tuning page."""

import pytest

from heygem.config.params import Params
from heygem.core.i18n import LANGUAGES, translator
from heygem.studio.controls import CONTROLS, control_values


@pytest.mark.parametrize("control", CONTROLS, ids=lambda k: k.key)
def test_every_control_is_a_recipe_key_that_accepts_its_whole_range(control):
    default = control_values(Params())[control.key]
    if control.is_switch:
        assert isinstance(default, bool)
        ends = [True, False]
    else:
        assert control.low <= default <= control.high
        ends = [control.low, control.high]
    for end in ends:
        assert control_values(Params().override({control.key: end}))[control.key] == end
    for lang in LANGUAGES:
        translate = translator(lang)
        assert control.name(translate) and len(control.help(translate)) > len(
            control.name(translate)
        )
