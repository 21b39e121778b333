"""A run of the fine-tuning from footage to bundle."""

import threading

import pytest
from helpers.finetune import QUICK
from helpers.media import write_video

from heygem.config.params import checked
from heygem.core.errors import Cancelled, InputError, OutputError, ParameterError
from heygem.finetune.consent import Statement
from heygem.finetune.run import finetune
from heygem.finetune.settings import FinetuneSettings


@pytest.mark.slow
def test_cancel_leaves_nothing_and_a_rerun_continues(own_home, footage, recorded_consent):
    finetune(footage, own_home / "first.heygem", QUICK, consent=recorded_consent)
    out, cancel, stages = own_home / "stopped.heygem", threading.Event(), []

    def stop(stage, done, total):
        stages.append(stage)
        if stage == "pictures" or stage == "write":
            cancel.set()

    with pytest.raises(Cancelled):
        finetune(footage, out, QUICK, consent=recorded_consent, progress=stop, cancel=cancel)
    assert not out.exists() and not list(own_home.glob(".*stopped*"))
    assert "track" not in stages and "learn" not in stages  # cached by the first run
    assert finetune(footage, out, QUICK, consent=recorded_consent).path == out
    assert (
        finetune(footage, out, QUICK, consent=recorded_consent).path == out
    )  # an older bundle is replaced


def test_unusable_arguments_are_refused(own_home, footage, tmp_path):
    own = Statement("own")
    silent = write_video(tmp_path / "silent.mp4")
    with pytest.raises(InputError, match="no sound"):
        finetune([silent], tmp_path / "a.heygem", consent=own)
    with pytest.raises(ParameterError, match="must end in .heygem"):
        finetune(footage, tmp_path / "a.mp4", consent=own)
    (tmp_path / "mine.heygem").mkdir()
    with pytest.raises(OutputError, match="choose another name"):
        finetune(footage, tmp_path / "mine.heygem", consent=own)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("blocks", "cv_folds", 8),
        ("guard_s", "cv_gap_s", 2.0),
        ("least_gain", "min_improvement", 0.2),
    ],
)
def test_settings_are_accepted_under_their_old_names(old, new, value):
    assert getattr(checked(FinetuneSettings, {old: value}), new) == value
