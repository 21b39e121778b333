"""Recipes: what a user may write, and what they are told when they mistype."""

import os
from pathlib import Path

import pytest
import yaml

from heygem.config.params import Params, Settings
from heygem.core.errors import InputError, ParameterError

RECIPES = sorted((Path(__file__).parents[2] / "params").glob("*.yaml"))
QUIET = {
    "label.visible": False,
    "label.requester": "A. Editor",
    "label.approver": "B. Lawyer",
    "label.reason": "broadcast master",
}


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"lips": {"opennes_gain": 1}}, "unknown key 'lips.opennes_gain'; did you mean 'openness"),
        ({"lips.opennes_gain": 1}, "did you mean 'openness_gain'?"),
        ({"lisp": {}}, "unknown key 'lisp'; did you mean 'lips'?"),
        ({"openness_gain": 1.2}, "did you mean 'lips.openness_gain'?"),
        ({"zzz": 1}, "unknown key 'zzz'; known keys: see params/demo.yaml"),
        ({"lips": {"openness_gain": "wide"}}, "lips.openness_gain"),
        ({"lips": {"openness_gain": 9}}, "less than or equal to 3; seen: 9"),
        ({"lips": {"openness_gain": float("nan")}}, "finite"),
        ({"lips": [1]}, "bad value for lips"),
        ({"media": {"preset": "quick"}}, "'ultrafast'"),
        ({"face": {"select": "box"}}, "needs `box"),
        ({"face": {"select": "box", "box": [5, 5, 1, 9]}}, "left, top, right, bottom"),
        ({"inputs": {"audio": "a.wav", "text": "hello"}}, "not both"),
        ({"label": {"visible": False}}, "no requester is named"),
        (QUIET | {"label.requester": " "}, "no requester is named"),
        (QUIET | {"label.approver": None}, "no approver is named"),
        (QUIET | {"label.approver": " a. editor"}, "are the same person"),
        (QUIET | {"label.reason": " "}, "no reason is given"),
        ({"label": {"seconds": 1.9}}, "greater than or equal to 2"),
        ({"label": {"text": "made with love"}}, "must say that AI made it"),
        ({"label": {"text": "AI-generated"}}, "must say that AI made it"),
        ({"label": {"opacity": 0.1}}, "0.5"),
        ({1: 2}, "unknown key '1'"),
    ],
)
def test_mistake_is_explained_in_one_line(tree, words):
    with pytest.raises(ParameterError) as caught:
        Params.from_dict(tree)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_number_written_as_text_is_a_number(tmp_path):
    # YAML 1.1 reads 3e-4 as a string.
    params = Params.from_yaml(write(tmp_path, "lips:\n  smoothing_ms: 3e1\n"))
    assert params.lips.smoothing_ms == 30.0


def test_empty_section_means_its_defaults(tmp_path):
    assert Params.from_yaml(write(tmp_path, "lips:\n")) == Params()


def test_label_may_be_off_with_a_reason_and_two_people():
    label = Params.from_dict(QUIET).label
    assert (label.visible, label.approver) == (False, "B. Lawyer")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("lips: &a {}\nface: *a\n", "aliases"),
        ("seed: 1\nseed: 2\n", "twice"),
        ("lips: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("- a\n- b\n", "does not hold"),
        ("lips: [1,\n", "not valid YAML in line"),
        (
            "inputs:\n  text: Café\n".encode("latin-1"),
            "not text in UTF-8; seen: byte 0xE9",
        ),
        ("lips:\n  x: \x07\n", "not valid YAML: special characters are not allowed"),
        ("lips:\n\tx: 1\n", "not valid YAML"),
    ],
)
def test_file_that_is_no_recipe(tmp_path, content, words):
    with pytest.raises(ParameterError, match=words):
        Params.from_yaml(write(tmp_path, content))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_recipe_may_be_in_any_unicode_encoding_that_editors_write(tmp_path, encoding):
    text = "inputs:\n  text: Grüße, 你好\n"
    params = Params.from_yaml(write(tmp_path, text.encode(encoding)))
    assert params.inputs.text == "Grüße, 你好"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lips.offset_ms: 1:30", "valid number.*seen: '1:30'"),  # 90 in YAML 1.1
        ("lips.openness_gain: yes", "valid number.*seen: 'yes'"),  # True there, and 1 as a number
        ("lips.openness_gain: true", "must be a number, not true or false; seen: True"),
        ("face.index: on", "valid integer.*seen: 'on'"),
        ("face.index: false", "must be a number"),
        (f"lips.offset_ms: {'1' * 5000}", r"lips.offset_ms: .*finite.*\(5002 letters\)"),
        (f"lips.offset_ms: {'1' * 90}", "less than or equal to 500"),
    ],
)
def test_a_value_that_yaml_reads_in_its_own_way_is_refused(tmp_path, line, words):
    with pytest.raises(ParameterError, match=words):
        Params.from_yaml(write(tmp_path, line + "\n"))


def test_yes_and_no_are_switches_where_a_switch_is_asked_for_and_texts_elsewhere(tmp_path):
    text = "lips.silence_gate: no\nlabel.watermark: yes\ninputs.language: no\n"
    params = Params.from_yaml(write(tmp_path, text))
    assert (params.lips.silence_gate, params.label.watermark) == (False, True)
    assert params.inputs.language == "no"  # Norwegian


@pytest.mark.fault
def test_file_names_that_are_not_utf8_are_settings_like_others(tmp_path):
    name = os.fsdecode(b"anna-\xe9.mp4")
    tree = {"inputs.videos": [name], "inputs.audio": name, "inputs.output": name}
    params = Params.from_dict(tree | {"mlflow.folder": name, "label.logo": name})
    assert Params.from_yaml(write(tmp_path, params.to_yaml())) == params
    assert len(params.digest()) == 64
    with pytest.raises(ParameterError, match="inputs.output: it is empty"):
        Params.from_dict({"inputs.output": ""})


@pytest.mark.fault
def test_a_pipe_is_no_recipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match="is a pipe"):
        Params.from_yaml(tmp_path / "pipe.yaml")


def test_huge_or_missing_file(tmp_path):
    with pytest.raises(InputError, match="too large"):
        Params.from_yaml(write(tmp_path, "#" * 300_000))
    with pytest.raises(InputError, match="no such parameter file"):
        Params.from_yaml(tmp_path / "none.yaml")


def test_yaml_round_trip_with_every_kind_of_value(tmp_path):
    params = Params.from_dict(
        {
            "inputs": {
                "text": "Yes: no, 'on'\n#5",
                "language": "no",
                "videos": ["-a: b.mp4", "中"],
            },
            "face": {"select": "box", "box": [1, 2, 3, 4.5]},
            "lips": {"smoothing_ms": 1e-5},
            "audio": {"loudness_lufs": -16},
        }
    )
    for commented in (True, False):
        assert Params.from_yaml(write(tmp_path, params.to_yaml(commented=commented))) == params


def sections(model, prefix=""):
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        inner = field.default_factory
        if isinstance(inner, type) and issubclass(inner, Settings):
            yield from sections(inner, f"{name}.")


def test_every_field_is_described_and_commented():
    text = Params().to_yaml()
    for key, field in sections(Params):
        assert field.description, key
        assert " ".join(field.description.split())[:30] in text, key


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipe_is_valid_and_every_key_is_commented(path):
    Params.from_yaml(path)
    above = ""
    for line in path.read_text().splitlines():
        words = line.strip()
        if words and not words.startswith(("#", "-")):
            assert above.startswith("#"), f"{path.name}: {words} has no comment above it"
        above = words


def test_there_is_a_demo_recipe():
    assert "demo.yaml" in [path.name for path in RECIPES]


def test_same_keys_everywhere():
    params = Params.from_dict({"lips": {"openness_gain": 1.2}})
    assert params.dotted()["lips.openness_gain"] == 1.2
    assert Params.from_dict(params.dotted()) == params
    assert params.override({"lips.openness_gain": 1.0}) == Params()
    assert set(yaml.safe_load(params.to_yaml())) == set(Params.model_fields)


def test_digest_follows_what_shapes_the_result_only():
    base = Params()
    assert base.override({"lips.offset_ms": 40}).digest() != base.digest()
    assert base.override({"label.corner": "bottom-left"}).digest() != base.digest()
    for key, value in (("inputs.output", "x"), ("mlflow.enabled", False), ("device", "cpu")):
        assert base.override({key: value}).digest() == base.digest()


def test_notebook_namespace_takes_values_and_refuses_strays():
    space = {"lips": {"openness_gain": 2}, "_private": 1, "In": [], "yaml": yaml, "Path": Path}
    assert Params.from_namespace(space).lips.openness_gain == 2
    with pytest.raises(ParameterError, match="did you mean 'lips'"):
        Params.from_namespace({**space, "lisp": {}})


def test_settings_cannot_be_changed_by_accident():
    with pytest.raises(Exception, match="frozen"):
        Params().lips.openness_gain = 2
