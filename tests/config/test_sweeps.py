"""Parameter sweeps: what a recipe may say, what it means, and what a mistake is told."""

import pytest

from heygem.config import sweeps
from heygem.config.params import Params
from heygem.core.errors import ParameterError

GRID = {"lips.openness_gain": [0.8, 1.0, 1.2], "renderer": {"feather": [0.1, 0.2]}}


def params(sweep):
    return Params.from_dict({"sweep": sweep})


def test_a_grid_is_all_combinations_and_a_list_its_variants():
    variants = sweeps.variants(params(GRID).sweep)
    assert len(variants) == 6
    assert variants[1] == {"lips.openness_gain": 0.8, "renderer.feather": 0.2}
    listed = [{"lips": {"openness_gain": 0.8}}, {}, {"lips.openness_gain": 0.8}]
    assert sweeps.variants(params(listed).sweep) == [{"lips.openness_gain": 0.8}, {}]
    assert sweeps.variants(params({}).sweep) == sweeps.variants(None) == [{}]


def test_labels_say_what_differs():
    sweep = params(GRID).sweep
    assert sweeps.label(sweeps.variants(sweep)[0], sweep) == "openness_gain=0.8,feather=0.1"
    sweep = params([{"label.height": 0.06}, {}, {"audio.denoise": True}])
    labels = [sweeps.label(each, sweep.sweep) for each in sweeps.variants(sweep.sweep)]
    assert labels == ["height=0.06", "unchanged", "denoise=true"]


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"lips.openess_gain": [1]}, "unknown setting 'lips.openess_gain'; did you mean 'lips.op"),
        ({"openness_gain": [1]}, "unknown setting 'openness_gain'; did you mean 'lips.openness"),
        ([{"lips.closur": 1}], "did you mean 'lips.closure'"),
        ({"lips.openness_gain": [1, 9]}, "variant openness_gain=9: .* less than or equal to 3"),
        ({"lips.openness_gain": 1.2}, "lips.openness_gain needs a list of values; seen: 1.2"),
        ({"lips.openness_gain": []}, "lips.openness_gain has no values"),
        ({"engine": ["warp", "wav2lip"]}, "'engine' cannot differ between variants"),
        ({"lips.model": ["a", "b"]}, "'lips.model' cannot differ"),
        ({"inputs.audio": ["a", "b"]}, "'inputs.audio' cannot differ"),
        ({"lips.closure": [k / 101 for k in range(101)]}, "too many variants; seen: 101; at most"),
        ("wide", "does not say which settings"),
        ([1], "variant 1 does not hold"),
    ],
)
def test_a_mistake_is_explained_in_one_line(sweep, words):
    with pytest.raises(ParameterError, match=words) as caught:
        params(sweep)
    assert "\n" not in str(caught.value)


def test_a_sweep_survives_yaml_overrides_and_dotted_keys(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(params(GRID).to_yaml())
    recipe = Params.from_yaml(path)
    assert recipe == params(GRID)
    assert recipe.override({"lips.closure": 0.5}).sweep == recipe.sweep
    alone = recipe.override({"sweep": None})
    assert alone.sweep is None
    assert alone.override({"sweep.lips.closure": [0, 1]}).sweep == {"lips.closure": (0, 1)}


def test_a_sweep_leaves_the_identity_of_an_item_as_it_was():
    assert params(GRID).digest() == Params().digest()
