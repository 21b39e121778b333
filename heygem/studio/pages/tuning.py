"""The tuning page: every control beside the video it changes."""

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.types import PathLike, Progress
from heygem.studio import experiment_log, recipe_files
from heygem.studio.background import LatestTask
from heygem.studio.controls import CONTROLS, Control, control_values
from heygem.studio.pages.preview import PreviewPage
from heygem.studio.snapshots import SLOTS, Snapshot, Snapshots
from heygem.studio.status import StatusBar


class _TuningPreview(PreviewPage):
    report_index = None  # folded, so that controls and video fit on one screen


class TuningPage(w.VBox):
    """Controls, preview, three snapshots, and recipes to save and load.

    Parameters
    ----------
    recipes_folder : path
        Where recipes are saved and loaded.
    **preview_options
        video, audio, params, folder, out, lang, session: as for `PreviewPage`.

    Attributes
    ----------
    controls : dict of str to ipywidgets.Widget
        By the recipe's dotted keys.
    preview : PreviewPage
    """

    def __init__(self, *, recipes_folder: PathLike = "params", **preview_options: Any) -> None:
        self.preview = _TuningPreview(**preview_options)
        self.translate = translate = self.preview.translate
        self.recipes_folder = recipes_folder
        self.snapshots = Snapshots(self.preview.session)
        self.mlflow_task = LatestTask()  # apart from rendering: MLflow takes seconds
        self._setting = False
        self._initial = self.preview.params
        language = 0 if self.preview.lang == "en" else 1
        values = control_values(self._initial)
        self.controls = {c.key: _make_widget(c, values[c.key], language) for c in CONTROLS}
        for widget in self.controls.values():
            widget.observe(self._control_moved, "value")
        self.reset_button = w.Button(description=translate("reset"), icon="undo")
        self.reset_button.on_click(lambda _: self.set_params(self._initial))
        main = w.Box([self.preview.main], layout=w.Layout(flex="1 1 420px", min_width="0"))
        # Controls to the left of the video; below it where the page is narrow.
        beside = w.Layout(width="100%", flex_flow="row-reverse wrap", justify_content="flex-end")
        super().__init__(
            [
                self.preview.header,
                w.HBox([main, self._build_controls()], layout=beside),
                self._build_snapshots(),
                self._build_recipes(),
            ]
        )

    # --- panels ---

    def _build_controls(self) -> w.VBox:
        rows: list[w.Widget] = []
        for group in dict.fromkeys(control.group for control in CONTROLS):
            rows.append(w.HTML(f"<b>{html.escape(self.translate('group_' + group))}</b>"))
            rows += [self.controls[c.key] for c in CONTROLS if c.group == group]
        return w.VBox([*rows, self.reset_button], layout=w.Layout(width="356px", padding="4px"))

    def _build_snapshots(self) -> w.VBox:
        self.save_buttons, self.show_buttons, self.notes = {}, {}, {}
        rows = []
        for slot in SLOTS:
            save = w.Button(description=self.translate("snapshot", slot=slot), icon="camera")
            show = w.Button(description=self.translate("recall", slot=slot), disabled=True)
            note = w.Text(
                placeholder=self.translate("notes"), layout=w.Layout(width="360px"), disabled=True
            )
            save.on_click(lambda _, slot=slot: self.save_snapshot(slot))
            show.on_click(lambda _, slot=slot: self.show_snapshot(slot))
            note.observe(
                lambda change, slot=slot: self.snapshots.set_note(slot, change["new"]), "value"
            )
            self.save_buttons[slot], self.show_buttons[slot], self.notes[slot] = save, show, note
            rows.append(w.HBox([save, show, note]))
        return w.VBox(rows)

    def _build_recipes(self) -> w.VBox:
        translate = self.translate
        self.name = w.Text(placeholder=translate("recipe"), layout=w.Layout(width="220px"))
        self.replace = w.Checkbox(
            description=translate("replace"), indent=False, layout=w.Layout(width="auto")
        )
        self.save_button = w.Button(description=translate("save"), layout=w.Layout(width="auto"))
        self.recipe_names = w.Dropdown(
            options=recipe_files.list_recipes(self.recipes_folder), layout=w.Layout(width="180px")
        )
        self.load_button = w.Button(description=translate("load"))
        self.log_button = w.Button(description=translate("log"), layout=w.Layout(width="auto"))
        self.message = w.HTML()
        self.status = StatusBar(self.mlflow_task, translate)
        self.save_button.on_click(lambda _: self.save_recipe())
        self.load_button.on_click(lambda _: self.load_recipe())
        self.log_button.on_click(lambda _: self.log_run())
        row = [self.name, self.replace, self.save_button, self.recipe_names, self.load_button]
        centred = w.Layout(flex_flow="row wrap", align_items="center")
        return w.VBox([w.HBox([*row, self.log_button], layout=centred), self.message, self.status])

    # --- actions of the user ---

    def params(self) -> Params:
        """The recipe with the current controls and the chosen files."""
        params = self.preview.params
        changes: dict[str, Any] = {}
        if self.preview.video.chosen:
            changes["inputs.videos"] = [self.preview.video.chosen]
        if self.preview.audio.chosen:
            changes |= {"inputs.audio": self.preview.audio.chosen, "inputs.text": None}
        return params.override(changes) if changes else params

    def set_params(self, params: Params, *, render: bool = True) -> None:
        """Move all controls to a recipe; one redraw, one rendering."""
        self._setting = True
        try:
            for key, value in control_values(params).items():
                widget = self.controls[key]
                if isinstance(widget, w.FloatSlider):
                    # A recipe may go beyond the usual range of the slider.
                    widget.min, widget.max = min(widget.min, value), max(widget.max, value)
                widget.value = value
        finally:
            self._setting = False
        self.preview.set_params(params, render=render)

    def _control_moved(self, _: dict[str, Any]) -> None:
        if self._setting:
            return
        values = {key: _rounded(widget.value) for key, widget in self.controls.items()}
        self.preview.set_params(self.preview.params.override(values))

    def save_snapshot(self, slot: str) -> None:
        """Save the settings, and their clip if it is up to date, in a slot."""
        note = self.notes[slot].value
        self.snapshots.save(slot, self.preview.params, self.preview.clip, note)
        self.show_buttons[slot].disabled = self.notes[slot].disabled = False

    def show_snapshot(self, slot: str) -> None:
        """Set the controls to a slot; a clip of the same span is shown without rendering."""
        snapshot = self.snapshots.get(slot)
        clip, preview = snapshot.clip, self.preview
        span = (preview.start.value, preview.length.value)
        if clip is None or (clip.start_s, clip.length_s) != span:
            self.set_params(snapshot.params)
            return
        self.set_params(snapshot.params, render=False)
        preview.task.cancel()
        preview.show_clip(clip)

    def save_recipe(self) -> None:
        """Write the recipe to params/NAME.yaml."""

        def action() -> str:
            path = recipe_files.save_recipe(
                self.params(),
                self.name.value,
                folder=self.recipes_folder,
                replace=self.replace.value,
            )
            self.recipe_names.options = recipe_files.list_recipes(self.recipes_folder)
            self.recipe_names.value = path.stem
            return self.translate("saved", path=path)

        self._show_outcome(action)

    def load_recipe(self) -> None:
        """Move the controls to a saved recipe."""

        def action() -> str:
            name = self.recipe_names.value or ""
            self.set_params(recipe_files.load_recipe(name, folder=self.recipes_folder))
            return self.translate("loaded", path=recipe_files.recipe_path(name))

        self._show_outcome(action)

    def log_run(self) -> None:
        """Record the current settings and clip in MLflow."""
        clip = self.preview.clip
        clip = clip if clip is not None and clip.params == self.preview.params else None
        snapshot = Snapshot(self.params(), clip, self.snapshots.note_for(self.preview.params))
        name = self.name.value.strip()
        session, curves = self.preview.session, None
        if clip is not None and session.draws_trajectory(clip.params):
            curves = session.aperture_curves(clip.params.lips, clip.start_s, clip.length_s)

        def work(progress: Progress, cancel: threading.Event) -> str:
            progress("MLflow", 0, 0)
            return experiment_log.log_snapshot(snapshot, name, curves=curves)

        def show(run: str) -> None:
            self.message.value = html.escape(self.translate("logged", run=run))

        self.mlflow_task.submit(work, show)

    def _show_outcome(self, action: Callable[[], str]) -> None:
        """Show the message that a function returns, or its error."""
        self.status.show_error(None)
        self.message.value = ""
        try:
            self.message.value = html.escape(action())
        except HeygemError as error:
            self.status.show_error(error)


def _rounded(value: float | bool) -> float | bool:
    return round(value, 6) if isinstance(value, float) else value


def _make_widget(control: Control, value: Any, language: int) -> w.Widget:
    """Slider or checkbox of a control; `language` is an index into its names."""
    name = control.names[language]
    wide = w.Layout(width="345px")
    if control.is_switch:
        return w.Checkbox(value=value, description=name, tooltip=control.help, layout=wide)
    return w.FloatSlider(
        value=value,
        min=min(control.low, value),
        max=max(control.high, value),
        step=control.step,
        description=f"{name} [{control.unit}]",
        tooltip=control.help,
        readout_format=".2f" if control.step < 1 else ".0f",
        layout=wide,
        style={"description_width": "165px"},
    )
