"""Recipes saved from a page."""

import pytest

from heygem.config.params import Params
from heygem.core.errors import ParameterError
from heygem.core.i18n import translator
from heygem.studio import recipe_files
from heygem.studio.recipe_choice import RecipeChoice


def test_a_saved_recipe_is_commented_and_reads_back(tmp_path):
    params = Params().override({"lips.openness_gain": 1.35})
    path = recipe_files.save_recipe(params, "night 1".replace(" ", "-"), folder=tmp_path)
    assert "# how far the mouth opens" in path.read_text()
    assert recipe_files.load_recipe("night-1", folder=tmp_path) == params
    assert recipe_files.list_recipes(tmp_path) == ["night-1"]


def test_a_recipe_is_replaced_only_on_request(tmp_path):
    recipe_files.save_recipe(Params(), "a", folder=tmp_path)
    with pytest.raises(ParameterError, match="there is a recipe of that name"):
        recipe_files.save_recipe(Params(), "a", folder=tmp_path)
    changed = Params().override({"media.crf": 24})
    recipe_files.save_recipe(changed, "a", folder=tmp_path, replace=True)
    assert recipe_files.load_recipe("a", folder=tmp_path) == changed


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 99, "a b", "-a"])
def test_a_recipe_name_cannot_leave_its_folder(name, tmp_path):
    with pytest.raises(ParameterError, match="not a name"):
        recipe_files.save_recipe(Params(), name, folder=tmp_path / "params")
    assert not (tmp_path / "params").exists()


def test_a_chinese_recipe_name_works(tmp_path):
    assert recipe_files.save_recipe(Params(), "晚间新闻", folder=tmp_path).name == "晚间新闻.yaml"


def test_settings_without_a_name_are_called_by_what_makes_them_ones_own(tmp_path):
    choice = RecipeChoice(Params(), tmp_path, translator("en"))

    def described(changes):
        return choice.describe(Params().override(changes))

    less = {"lips.openness_gain": 0.6}
    assert described({}) == "Natural" and described(less) == "Opening 0.6"
    assert described(less | {"lips.offset_ms": 40.0}) == "Opening 0.6, Mouth delay 40"
    for other in ({"lips.silence_gate": False}, {"media.crf": 30}):
        assert described(other) == described(less | other) == "own settings"
