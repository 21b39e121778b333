"""Options of `heygem evaluate`, under their current and their old names."""

import pytest
from typer.testing import CliRunner

from heygem.cli.evaluate import evaluate, parse_seconds
from heygem.config.params import checked
from heygem.core.errors import ParameterError
from heygem.evaluation import EvaluateSettings


@pytest.mark.parametrize("text", ["x", "15,-3", "0"])
def test_amounts_that_are_no_seconds_are_refused(text):
    with pytest.raises(ParameterError, match="15,30,60"):
        parse_seconds(text)


def test_amounts_are_parsed():
    assert parse_seconds("") == ()
    assert parse_seconds("15, 30,60") == (15.0, 30.0, 60.0)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the command without evaluating: returns the arguments of the evaluation."""
    import typer

    from heygem.evaluation import protocol, record
    from heygem.evaluation.results import Results

    calls = []

    def fake_evaluate(clips, params, settings, **options):
        calls.append((clips, settings, options))
        return Results("m")

    monkeypatch.setattr(protocol, "evaluate", fake_evaluate)
    monkeypatch.setattr(record, "save", lambda *_: [])
    monkeypatch.setattr(record, "log_run", lambda *_: None)
    app = typer.Typer()
    app.command()(evaluate)

    def run(*arguments):
        result = CliRunner().invoke(app, ["a.mp4", "--out", str(tmp_path), *arguments])
        assert result.exit_code == 0, result.output
        return *calls.pop(), result.stderr

    return run


def test_current_options_reach_the_evaluation(run, tmp_path):
    _, settings, options, stderr = run(
        *("--test-fraction", "0.3", "--no-baselines", "--finetune-seconds", "15,30"),
        *("--cross-audio", "b.wav", "--cross-audio", "c.wav", "--save-visuals"),
    )
    assert (settings.test_fraction, settings.baselines) == (0.3, False)
    assert settings.finetune_seconds == (15, 30)
    assert [path.name for path in options["cross_audio"]] == ["b.wav", "c.wav"]
    assert options["visuals_dir"] == tmp_path / "visuals"
    assert "now called" not in stderr


def test_old_options_do_the_same_with_a_notice_each(run):
    _, settings, options, stderr = run(
        *("--share", "0.3", "--no-anchors", "--few-shot", "15,30"),
        *("--other", "b.wav", "--other", "c.wav", "--look"),
    )
    assert (settings.test_fraction, settings.baselines) == (0.3, False)
    assert settings.finetune_seconds == (15, 30)
    assert [path.name for path in options["cross_audio"]] == ["b.wav", "c.wav"]
    assert options["visuals_dir"] is not None
    for name in ("--other", "--share", "--[no-]anchors", "--few-shot", "--look"):
        assert f"{name} is now called" in stderr
    assert len(stderr.strip().splitlines()) == 5


def test_defaults(run):
    _, settings, options, stderr = run()
    assert (settings.test_fraction, settings.baselines) == (0.4, True)
    assert settings.finetune_seconds == () and options["visuals_dir"] is None and not stderr


def test_old_names_of_settings_are_accepted():
    old = {"share": 0.3, "anchors": False, "few_shot_s": [15], "drawn_s": 5}
    settings = checked(EvaluateSettings, old)
    assert (settings.test_fraction, settings.baselines) == (0.3, False)
    assert (settings.finetune_seconds, settings.max_rendered_finetune_s) == ((15,), 5)
