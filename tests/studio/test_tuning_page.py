"""The tuning page without a browser."""

import pytest
from helpers.studio import GATE_OFF, WAIT_S

from heygem.config.params import Params
from heygem.studio.controls import control_differences
from heygem.studio.pages.tuning import TuningPage
from heygem.studio.recipe_files import save_recipe

pytestmark = [pytest.mark.usefixtures("isolated_home"), pytest.mark.slow]


@pytest.mark.slow
def test_a_moving_control_redraws_the_curve_and_renders_once(tuning):
    page = tuning.preview
    first, curves = page.clip, page.player.curves
    for value in (1.1, 1.2, 1.5):  # a slider on its way
        tuning.controls["lips.openness_gain"].value = value
    assert page.player.curves != curves and page.player.stale
    assert page.task.wait(WAIT_S)
    assert page.clip is not first and not page.player.stale
    assert page.clip.params.lips.openness_gain == 1.5
    names = sorted(p.name for p in page.session.folder.glob("*-result.mp4"))
    assert len(names) == 2, "positions in between are not rendered"


@pytest.mark.slow
def test_a_snapshot_restores_controls_and_clip_without_rendering(tuning):
    page = tuning.preview
    tuning.save_buttons["A"].click()
    first = page.clip
    tuning.notes["A"].value = "as it comes"
    tuning.controls["lips.openness_gain"].value = 2.0
    assert page.task.wait(WAIT_S) and page.clip is not first
    tuning.show_buttons["A"].click()
    assert tuning.controls["lips.openness_gain"].value == 1.0
    assert page.clip is first and not page.player.stale
    assert tuning.snapshots.get("A").note == "as it comes"
    assert tuning.snapshots.note_for(page.params) == "as it comes", "logged with the run"
    assert tuning.snapshots.note_for(page.params.override({"media.crf": 20})) == ""
    assert tuning.show_buttons["B"].disabled


def test_a_snapshot_leaves_out_a_clip_of_other_settings(tuning):
    snapshots = tuning.snapshots
    other = tuning.preview.params.override({"lips.openness_gain": 2.0})
    assert snapshots.save("B", other, tuning.preview.clip).clip is None


@pytest.mark.slow
def test_reset_restores_all_controls(tuning):
    tuning.controls["lips.smoothing_ms"].value = 100.0
    tuning.controls["renderer.color_match"].value = False
    tuning.reset_button.click()
    assert control_differences(tuning.preview.params, GATE_OFF) == {}
    assert tuning.preview.task.wait(WAIT_S)


@pytest.mark.slow
def test_a_recipe_saved_from_the_page_can_be_run_and_loaded(tuning, tmp_path, talking, speech):
    tuning.controls["lips.openness_gain"].value = 1.4
    tuning.name.value = "mine"
    tuning.save_button.click()
    assert "mine.yaml" in tuning.message.value
    saved = Params.from_yaml(tmp_path / "params" / "mine.yaml")
    assert saved.lips.openness_gain == 1.4
    assert saved.inputs.videos == (str(talking[0]),) and saved.inputs.audio == str(speech)
    tuning.reset_button.click()
    assert tuning.style.value == "preset:natural" or tuning.style.value == "page"
    tuning.style.value = "recipe:mine"
    assert tuning.controls["lips.openness_gain"].value == 1.4
    assert tuning.preview.task.wait(WAIT_S)


def test_a_bad_recipe_name_is_an_error_box_and_nothing_is_written(tuning, tmp_path):
    tuning.name.value = "../x"
    tuning.save_button.click()
    assert "not a name for a recipe" in tuning.status.error.value
    assert not (tmp_path / "x.yaml").exists()


@pytest.mark.slow
def test_a_recipe_value_beyond_the_range_of_the_slider_is_kept(tuning):
    tuning.set_params(tuning.preview.params.override({"lips.smoothing_ms": 400.0}))
    assert tuning.controls["lips.smoothing_ms"].value == 400.0
    assert tuning.preview.params.lips.smoothing_ms == 400.0
    assert tuning.preview.task.wait(WAIT_S)


def test_the_page_is_shown_in_chinese(tmp_path):
    page = TuningPage(folder=tmp_path, out=tmp_path / "p", lang="zh", recipes_folder=tmp_path)
    assert page.preview.open_button.description == "打开"
    assert page.controls["lips.openness_gain"].description.startswith("张口幅度")
    assert page.preview.player.labels["play"] == "播放"


@pytest.mark.slow
def test_a_style_moves_the_controls_and_every_change_can_be_undone(tuning):
    tuning.style.value = "preset:clear"
    assert tuning.controls["lips.openness_gain"].value == 1.3
    tuning.controls["lips.openness_gain"].value = 1.7
    assert tuning.style.value == "", "no style is the same"
    assert tuning.style.label == "own settings"
    values = {key: control.value for key, control in tuning.controls.items()}
    save_recipe(Params(), "another", folder=tuning.recipes_folder)
    tuning.style.refresh()  # a list with one more is no choice
    assert ("another", "recipe:another") in tuning.style.options
    assert tuning.style.label == "own settings"
    assert values == {key: control.value for key, control in tuning.controls.items()}
    for expected in (1.3, 1.0):
        tuning.undo_button.click()
        assert tuning.controls["lips.openness_gain"].value == expected
    assert tuning.undo_button.disabled
    tuning.redo_button.click()
    assert tuning.controls["lips.openness_gain"].value == 1.3
    assert tuning.style.value == "preset:clear"
    tuning.preview.player._handle_custom_msg({"kind": "undo"}, [])  # Ctrl+Z on the page
    assert tuning.controls["lips.openness_gain"].value == 1.0
    assert tuning.preview.task.wait(WAIT_S)


@pytest.mark.slow
def test_two_snapshots_share_one_player_and_one_plot(tuning):
    preview, player = tuning.preview, tuning.preview.player
    tuning.save_snapshot("A")
    assert tuning.compare_button.disabled
    tuning.set_params(preview.params.override({"lips.openness_gain": 2.0}), render=False)
    tuning.save_snapshot("B")  # without a clip: it is rendered for the comparison
    tuning.compare_button.click()
    assert preview.task.wait(WAIT_S) and preview.task.error is None
    assert player.captions == {"source": "A", "result": "B"} and player.mode == "wipe"
    first, second = (tuning.snapshots.get(slot).clip for slot in "AB")
    assert player.source_url.endswith(first.result.name)
    assert player.result_url.endswith(second.result.name)
    assert (first.start_s, first.length_s) == (second.start_s, second.length_s)
    assert "hg-filmed" in player.curves and "hg-after" in player.curves
    tuning.show_buttons["A"].click()
    assert player.captions == {}, "source and result again"


@pytest.mark.slow
def test_what_was_tuned_is_one_link_away_in_the_studio(tuning, tmp_path, monkeypatch):
    tuning.controls["lips.openness_gain"].value = 1.4
    tuning.studio_button.click()
    assert "04_studio.ipynb?recipe=tuned" in tuning.studio_link.value
    saved = Params.from_yaml(tmp_path / "params" / "tuned.yaml")
    assert saved.lips.openness_gain == 1.4
    assert tuning.preview.task.wait(WAIT_S)
    monkeypatch.setenv("QUERY_STRING", "recipe=tuned&token=secret")
    page = TuningPage(folder=tmp_path, out=tmp_path / "p", recipes_folder=tmp_path / "params")
    assert page.style.value == "recipe:tuned"
    assert page.controls["lips.openness_gain"].value == 1.4, "and back"
