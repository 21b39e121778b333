"""`train_lips` writes a model file and its card."""

import pytest
from helpers.training import SMALL

from heygem import lips
from heygem.config.params import checked
from heygem.core.errors import OutputError, ParameterError
from heygem.training import run
from heygem.training.settings import TrainSettings

QUICK = SMALL.model_copy(update={"iterations": 10, "eval_every": 10, "sync_iterations": 0})


@pytest.mark.slow
def test_a_model_and_its_card_are_written(generated_speakers, tmp_path, monkeypatch):
    monkeypatch.setattr(run.dataset, "find", lambda folder: ["anything"])
    monkeypatch.setattr(run.dataset, "load", lambda *a, **k: generated_speakers)
    out = tmp_path / "new" / "mine.safetensors"
    out.parent.mkdir()
    out.with_suffix(".notes.md").write_text("## Limits\n\nNot trained on whispering.\n", "utf-8")
    run.train_lips(tmp_path, out, QUICK, device="cpu")
    model = lips.LipsModel.load(out)
    assert model.about["speakers"] == 7 and model.opening_std > 0
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert generated_speakers.sha256 in text and "energy-driven jaw" in text and "unseen" in text
    assert "forbidden" not in text
    assert "Not trained on whispering." in text
    assert not list(out.parent.glob("*.checkpoint"))


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="safetensors"):
        run.train_lips(tmp_path, tmp_path / "mine.pth", QUICK)


@pytest.mark.fault
@pytest.mark.parametrize("name", ["mine.safetensors", "mine.md"])
def test_a_model_or_text_of_that_name_is_refused_before_training(tmp_path, name, monkeypatch):
    def work(*_, **__):
        raise AssertionError("work began")

    monkeypatch.setattr(run.dataset, "find", work)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="is there already.*--overwrite"):
        run.train_lips(tmp_path, tmp_path / "mine.safetensors", QUICK, device="cpu")
    assert (tmp_path / name).read_text() == "mine"
    with pytest.raises(AssertionError, match="work began"):
        run.train_lips(tmp_path, tmp_path / "mine.safetensors", QUICK, device="cpu", overwrite=True)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("level", "normalize_spectra", False),
        ("likeness", "correlation_weight", 0.5),
        ("average", "ema_decay", 0.9),
        ("check_every", "eval_every", 7),
    ],
)
def test_settings_are_accepted_under_their_old_names(old, new, value):
    assert getattr(checked(TrainSettings, {old: value}), new) == value
