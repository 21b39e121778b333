"""Old names of settings are accepted, with one notice each, wherever settings are written."""

import warnings
from pathlib import Path

import pytest

from heygem.config import pairs, renamed
from heygem.config.params import BILINGUAL_LABEL, FaceSettings, Params, Settings, checked
from heygem.config.renamed import RECIPE, TABLE, Names, with_current_names
from heygem.core.errors import Notice, ParameterError

ROOT = Path(__file__).parents[2]
OLD_RECIPES = sorted(Path(__file__).with_name("recipes_0_1").glob("*.yaml"))


@pytest.fixture(autouse=True)
def no_notice_yet(monkeypatch):
    monkeypatch.setattr(renamed, "_shown", set())


def notices(recorded) -> list[str]:
    return [str(w.message) for w in recorded if issubclass(w.category, Notice)]


def test_all_recipes_of_the_last_release_are_covered():
    new = {"sweep.yaml"}
    recipes = {path.name for path in (ROOT / "params").glob("*.yaml")}
    assert {path.name for path in OLD_RECIPES} == recipes - new


@pytest.mark.parametrize("path", OLD_RECIPES, ids=lambda path: path.name)
def test_old_recipe_equals_the_new_one(path):
    with pytest.warns(Notice) as recorded:
        old = Params.from_yaml(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = Params.from_yaml(ROOT / "params" / path.name)
    if path.name != "finetune.yaml":
        # The defaults of the label's text and of the encoder's preset changed; the installation's
        # consent basis holds unless stated.
        stated = {"label.text": BILINGUAL_LABEL, "label.consent": "own", "media.preset": "medium"}
        new = new.override(stated)
    assert old == new
    texts = notices(recorded)
    assert len(texts) == len(set(texts))
    assert any("`tracking` is now called `mlflow`" in text for text in texts)
    assert any("`face.backend: mesh` is now called `face.backend: mediapipe`" in t for t in texts)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"tracking": {"enabled": False}}, {"mlflow": {"enabled": False}}),
        ({"tracking.folder": "x"}, {"mlflow.folder": "x"}),
        ({"face": {"choose": "index"}}, {"face": {"select": "index"}}),
        ({"face.choose": "index"}, {"face.select": "index"}),
        ({"label": {"mark": False}}, {"label": {"watermark": False}}),
        ({"engine": "mesh"}, {"engine": "warp"}),
        ({"face.backend": "mesh"}, {"face.backend": "mediapipe"}),
        ({"tracking": None}, {}),
    ],
)
def test_each_old_name_is_read_as_the_new_one(old, new):
    with pytest.warns(Notice):
        assert Params.from_dict(old) == Params.from_dict(new)


def test_a_change_under_an_old_name_replaces_the_current_value():
    with pytest.warns(Notice, match="`label.mark` is now called `label.watermark`"):
        assert Params().override({"label.mark": False}).label.watermark is False


@pytest.mark.parametrize(
    "tree",
    [
        {"face": {"choose": "index", "select": "largest"}},
        {"face": {"select": "largest"}, "face.choose": "index"},
        {"tracking.enabled": False, "mlflow.folder": "x"},
        {"tracking": {"enabled": False}, "mlflow": {"folder": "x"}},
    ],
)
def test_old_and_new_name_at_once_are_refused(tree):
    with pytest.raises(ParameterError, match="is the old name of .*both are given; keep `"):
        Params.from_dict(tree)


def test_empty_sections_of_a_notebook_do_not_count_as_given_twice():
    for empty, used in (("tracking", "mlflow"), ("mlflow", "tracking")):
        for order in ((empty, used), (used, empty)):
            space = {name: {"folder": "x"} if name == used else {} for name in order}
            renamed._shown.clear()
            with pytest.warns(Notice):
                assert Params.from_namespace(space).mlflow.folder == "x"


def test_column_of_a_pair_table(tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("video,audio,face.choose,label.mark\na.mp4,b.wav,index,false\nc.mp4,b.wav,,\n")
    with pytest.warns(Notice) as recorded:
        first, second = pairs.read(table)
    assert first.changes == {"face.select": "index", "label.watermark": False}
    assert second.changes == {}
    assert len(notices(recorded)) == 2
    table.write_text("video,audio,face.choose,face.select\na.mp4,b.wav,index,box\n")
    with pytest.raises(ParameterError, match="pairs.csv, row 2: `face.choose` is the old name"):
        pairs.read(table)


def test_a_notice_is_shown_once_in_a_process():
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("default")
        for _ in range(3):
            Params.from_dict({"face.choose": "index"})
            warnings.filterwarnings("ignore", module="a_library_that_sets_filters")
    assert len(notices(recorded)) == 1
    assert "\n" not in notices(recorded)[0]


def test_recorded_settings_are_read_without_a_notice():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_current_names({"engine": "mesh"}, notify=False) == {"engine": "warp"}


def test_a_section_on_its_own_has_its_old_names_too():
    with pytest.warns(Notice):
        assert checked(FaceSettings, {"choose": "index"}).select == "index"


def test_other_settings_use_the_same_table(monkeypatch):
    class Example(Settings):
        current: int = 0
        unchanged: int = 0

    names = Names({"former": "current", "unchanged": "not_there_yet"})
    monkeypatch.setitem(TABLE, "Example", names)
    with pytest.warns(Notice, match="`former` is now called `current`"):
        assert checked(Example, {"former": 3, "unchanged": 4}) == Example(current=3, unchanged=4)


def test_new_names_of_a_recipe_exist_and_old_ones_do_not():
    keys = {*Params().dotted(), *Params.model_fields}
    assert set(RECIPE.keys.values()) <= keys and not set(RECIPE.keys) & keys
    assert set(RECIPE.values) <= keys


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("heygem.training.settings", "TrainSettings"),
        ("heygem.finetune.settings", "FinetuneSettings"),  # a build may leave it out
        ("heygem.evaluation.protocol", "EvaluateSettings"),
    ],
)
def test_new_names_of_other_settings_exist_and_old_ones_do_not(module, name):
    fields = set(getattr(pytest.importorskip(module), name).model_fields)
    assert set(TABLE[name].keys.values()) <= fields and not set(TABLE[name].keys) & fields
