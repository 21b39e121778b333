"""The label in the metadata."""

import json

import pytest

from heygem.config.params import LabelSettings
from heygem.core.errors import ParameterError
from heygem.provenance import aigc_tags
from heygem.provenance.aigc import parse_label, validate_producer


def test_metadata_has_the_seven_fields():
    tags = aigc_tags(LabelSettings(producer="studio-7"), "3f1c-20")
    data = json.loads(tags["AIGC"])
    assert list(data) == [
        "Label", "ContentProducer", "ProduceID", "ReservedCode1",
        "ContentPropagator", "PropagateID", "ReservedCode2",
    ]  # fmt: skip
    assert all(isinstance(v, str) for v in data.values())
    assert data["Label"] == "1"
    assert data["ContentPropagator"] == data["ContentProducer"] == "studio-7"
    assert data["PropagateID"] == data["ProduceID"] == "3f1c-20"
    label, problems = parse_label(tags["AIGC"])
    assert problems == [] and label.ProduceID == "3f1c-20"


def test_the_wrapped_form_is_parsed_too():
    flat = aigc_tags(LabelSettings(), "1")["AIGC"]
    label, problems = parse_label('{"AIGC":' + flat + "}")
    assert label is not None and problems == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Label": 1}, "not text"),
        ({"Label": "7"}, "not 1, 2 or 3"),
        ({"ProduceID": ""}, "empty"),
        ({"Extra": "x"}, "unknown"),
    ],
)
def test_faulty_metadata_is_reported(change, problem):
    data = json.loads(aigc_tags(LabelSettings(), "1")["AIGC"]) | change
    _, problems = parse_label(json.dumps(data))
    assert any(problem in p for p in problems)


def test_text_that_is_no_label():
    assert parse_label("{")[0] is None
    assert parse_label("[1]")[0] is None


@pytest.mark.parametrize("value", ["新闻社", "two words", 'a"b', "", "0011" + "9" * 18])
def test_bad_producers_are_refused(value):
    with pytest.raises(ParameterError):
        validate_producer(value)


def test_a_providers_code_is_checked_by_its_check_digit():
    good = "0011" + "91350100M000100Y43" + "10001"  # the example of GB 32100-2015
    assert validate_producer(good) == good
    with pytest.raises(ParameterError, match="not a valid"):
        validate_producer(good.replace("Y43", "Y44"))
