"""The tuning page: every control beside the video it changes."""

import html
import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w

from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import Translate
from heygem.core.types import PathLike, Progress
from heygem.studio import charts, experiment_log, links, recipe_files
from heygem.studio.background import LatestTask
from heygem.studio.clip import Clip
from heygem.studio.controls import CONTROLS, Control, control_values
from heygem.studio.pages.preview import PreviewPage
from heygem.studio.recipe_choice import RecipeChoice, RecipeDropdown
from heygem.studio.snapshots import SLOTS, Snapshot, Snapshots
from heygem.studio.status import StatusBar
from heygem.studio.undo import UndoStack
from heygem.studio.urls import page_url

TUNED = "tuned"  # name of a recipe that is handed on without one


class _TuningPreview(PreviewPage):
    report_index = None  # folded, so that controls and video fit on one screen


class TuningPage(w.VBox):
    """Controls, preview, three snapshots to compare, and styles to choose and save.

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
        wishes = links.query()
        if wishes.get("video") and wishes.get("audio"):
            preview_options |= {"video": wishes["video"], "audio": wishes["audio"]}
        self.preview = _TuningPreview(**preview_options)
        self.translate = translate = self.preview.translate
        self.recipes_folder = recipes_folder
        self.snapshots = Snapshots(self.preview.session)
        self.mlflow_task = LatestTask()  # apart from rendering: MLflow takes seconds
        self._setting = False
        self._initial = self.preview.params
        self.steps = UndoStack(self._initial)
        self.choice = RecipeChoice(self._initial, recipes_folder, translate)
        values = control_values(self._initial)
        self.controls = {c.key: _make_widget(c, values[c.key], translate) for c in CONTROLS}
        for widget in self.controls.values():
            widget.observe(self._control_moved, "value")
        self.reset_button = w.Button(description=translate("reset"), icon="eraser")
        self.reset_button.on_click(lambda _: self.change_to(self._initial))
        self.undo_button = w.Button(description=translate("undo"), icon="undo", disabled=True)
        self.redo_button = w.Button(description=translate("redo"), icon="repeat", disabled=True)
        self.undo_button.on_click(lambda _: self._step(self.steps.undo))
        self.redo_button.on_click(lambda _: self._step(self.steps.redo))
        self.style = RecipeDropdown(self.choice, translate)
        self.style.observe(self._style_chosen, "value")
        self.preview.player.on_msg(self._key_pressed)
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
        self._choose_wished(wishes)

    def _choose_wished(self, wishes: dict[str, str]) -> None:
        """Select the style that the page's address names."""
        for kind in ("preset", "recipe"):
            name = f"{kind}:{wishes.get(kind, '')}"
            if name in [value for _, value in self.style.options]:
                self.style.value = name

    # --- panels ---

    def _build_controls(self) -> w.VBox:
        rows: list[w.Widget] = []
        for group in dict.fromkeys(control.group for control in CONTROLS):
            rows.append(w.HTML(f"<b>{html.escape(self.translate('group_' + group))}</b>"))
            rows += [self.controls[c.key] for c in CONTROLS if c.group == group]
        steps = w.HBox([self.undo_button, self.redo_button, self.reset_button])
        column = [self.style, *rows, steps]
        return w.VBox(column, layout=w.Layout(width="376px", padding="4px"))

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
            rows.append(w.HBox([save, show, note], layout=w.Layout(flex_flow="row wrap")))
        pairs = [(f"{a} | {b}", (a, b)) for a, b in itertools.combinations(SLOTS, 2)]
        self.pair = w.Dropdown(
            options=pairs, tooltip=self.translate("compare_pair"), layout=w.Layout(width="90px")
        )
        self.compare_button = w.Button(
            description=self.translate("compare_pair"), icon="columns", disabled=True,
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.compare_button.on_click(lambda _: self.compare(*self.pair.value))
        self.pair.observe(lambda _: self._update_slots(), "value")
        return w.VBox([*rows, w.HBox([self.pair, self.compare_button])])

    def _build_recipes(self) -> w.VBox:
        translate = self.translate
        self.name = w.Text(placeholder=translate("recipe"), layout=w.Layout(width="220px"))
        self.replace = w.Checkbox(
            description=translate("replace"), indent=False, layout=w.Layout(width="auto")
        )
        self.save_button = w.Button(description=translate("save"), layout=w.Layout(width="auto"))
        self.studio_button = w.Button(
            description=translate("use_in_studio"), icon="share", layout=w.Layout(width="auto")
        )
        self.studio_button.on_click(lambda _: self.hand_to_studio())
        self.log_button = w.Button(description=translate("log"), layout=w.Layout(width="auto"))
        self.message, self.studio_link = w.HTML(), w.HTML()
        self.status = StatusBar(self.mlflow_task, translate)
        self.save_button.on_click(lambda _: self.save_recipe())
        self.log_button.on_click(lambda _: self.log_run())
        row = [self.name, self.replace, self.save_button, self.studio_button]
        centred = w.Layout(flex_flow="row wrap", align_items="center")
        buttons = w.HBox([*row, self.log_button, self.studio_link], layout=centred)
        return w.VBox([buttons, self.message, self.status])

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
        self._show_style()

    def change_to(self, params: Params, *, render: bool = True) -> None:
        """As `set_params`, as a step that can be undone."""
        self.steps.record(params)
        self.set_params(params, render=render)

    def _step(self, step: Callable[[], Params]) -> None:
        self.set_params(step())

    def _control_moved(self, change: dict[str, Any]) -> None:
        if self._setting:
            return
        moved = next(key for key, widget in self.controls.items() if widget is change["owner"])
        values = {key: _rounded(widget.value) for key, widget in self.controls.items()}
        params = self.preview.params.override(values)
        self.steps.record(params, moved=moved)
        self.preview.set_params(params)
        self._show_style()

    def _style_chosen(self, change: dict[str, Any]) -> None:
        if self._setting or self.style.is_updating:
            return

        def action() -> str:
            if change["new"]:
                self.change_to(self.choice.apply(change["new"], self.preview.params))
            return ""

        self._show_outcome(action)

    def _show_style(self) -> None:
        """Name the style that the controls are set to, and whether a step can be undone."""
        self.undo_button.disabled = not self.steps.can_undo
        self.redo_button.disabled = not self.steps.can_redo
        name = self.choice.name_of(self.preview.params)
        self._setting = True
        try:
            self.style.show(name)
        finally:
            self._setting = False

    def _key_pressed(self, _widget: Any, content: dict[str, Any], _buffers: list) -> None:
        actions: dict[Any, Callable[[], object]] = {
            "undo": lambda: self._step(self.steps.undo),
            "redo": lambda: self._step(self.steps.redo),
        }
        actions |= {f"keep{slot}": partial(self.save_snapshot, slot) for slot in SLOTS}
        if content.get("kind") in actions:
            actions[content["kind"]]()

    def save_snapshot(self, slot: str) -> None:
        """Save the settings, and their clip if it is up to date, in a slot."""
        note = self.notes[slot].value
        self.snapshots.save(slot, self.preview.params, self.preview.clip, note)
        self.show_buttons[slot].disabled = self.notes[slot].disabled = False
        self._update_slots()

    def _update_slots(self) -> None:
        self.compare_button.disabled = not all(slot in self.snapshots for slot in self.pair.value)

    def compare(self, first: str, second: str) -> None:
        """Show two slots on one player: the same instants, a wipe, both curves.

        A clip of another span than the page's is rendered anew first.
        """
        preview = self.preview
        start_s, length_s = preview.start.value, preview.length.value

        def work(progress: Progress, cancel: threading.Event) -> tuple[Clip, ...]:
            clips = []
            for slot in (first, second):
                snapshot = self.snapshots.get(slot)
                clip = snapshot.clip
                if clip is None or (clip.start_s, clip.length_s) != (start_s, length_s):
                    session = preview.session
                    clip = session.render(
                        snapshot.params, start_s, length_s, progress=progress, cancel=cancel
                    )
                    self.snapshots.save(slot, snapshot.params, clip, snapshot.note)
                clips.append(clip)
            return tuple(clips)

        preview.task.submit(work, lambda clips: self._show_pair((first, second), clips))

    def _show_pair(self, slots: tuple[str, str], clips: tuple[Clip, ...]) -> None:
        player, session = self.preview.player, self.preview.session
        with player.hold_sync():
            player.captions = {"source": slots[0], "result": slots[1]}
            player.source_url, player.result_url = (page_url(clip.result) for clip in clips)
            player.mode, player.stale = "wipe", False
            if all(session.draws_trajectory(clip.params) for clip in clips):
                curves = [
                    session.aperture_curves(clip.params.lips, clip.start_s, clip.length_s)
                    for clip in clips
                ]
                player.curves = charts.pair_html(curves, slots, self.translate)

    def show_snapshot(self, slot: str) -> None:
        """Set the controls to a slot; a clip of the same span is shown without rendering."""
        snapshot = self.snapshots.get(slot)
        clip, preview = snapshot.clip, self.preview
        span = (preview.start.value, preview.length.value)
        if clip is None or (clip.start_s, clip.length_s) != span:
            self.change_to(snapshot.params)
            return
        self.change_to(snapshot.params, render=False)
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
            self.style.refresh()
            self._show_style()
            return self.translate("saved", path=path)

        self._show_outcome(action)

    def hand_to_studio(self) -> None:
        """Save the recipe, and link to the studio with it selected."""

        def action() -> str:
            name = self.name.value.strip() or TUNED
            folder = self.recipes_folder
            path = recipe_files.save_recipe(self.params(), name, folder=folder, replace=True)
            self.style.refresh()
            address = links.page_link("studio", recipe=path.stem)
            self.studio_link.value = (
                f'<a class="hg-link" href="{html.escape(address, quote=True)}" target="_blank">'
                f"{html.escape(self.translate('open_studio', name=path.stem))}</a>"
            )
            return self.translate("saved", path=path)

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


def _make_widget(control: Control, value: Any, translate: Translate) -> w.Widget:
    """Slider or checkbox of a control."""
    name, tooltip = control.name(translate), control.help(translate)
    wide = w.Layout(width="365px")
    if control.is_switch:
        style = {"description_width": "205px"}  # below the sliders' tracks
        return w.Checkbox(value=value, description=name, tooltip=tooltip, layout=wide, style=style)
    return w.FloatSlider(
        value=value,
        min=min(control.low, value),
        max=max(control.high, value),
        step=control.step,
        description=f"{name} [{control.unit}]",
        tooltip=tooltip,
        readout_format=".2f" if control.step < 1 else ".0f",
        layout=wide,
        style={"description_width": "205px"},
    )
