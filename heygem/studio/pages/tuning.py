"""The tuning page: every knob beside the picture it changes."""

import html

import ipywidgets as w

from heygem.core.errors import HeygemError
from heygem.studio import experiment_log, recipe_files
from heygem.studio.background import LatestTask
from heygem.studio.controls import KNOBS, values
from heygem.studio.pages.preview import Preview
from heygem.studio.snapshots import SLOTS, Snapshot, Snapshots
from heygem.studio.status import StatusBar


class _Preview(Preview):
    report_index = None  # knobs and picture belong on one screen


class Tuning(w.VBox):
    """Knobs, preview, three snapshots, and recipes to save and load.

    Parameters
    ----------
    video, audio, params, folder, out, lang, session
        As for `Preview`.
    recipes_folder : path
        Where recipes are saved and loaded.

    Attributes
    ----------
    knobs : dict of str to widget
        By the recipe's dotted keys.
    preview : Preview
    """

    def __init__(self, *, recipes_folder="params", **preview):
        self.preview = _Preview(**preview)
        self.say = say = self.preview.say
        self.recipes_folder = recipes_folder
        self.snapshots = Snapshots(self.preview.session)
        self.clerk = LatestTask()  # keeps MLflow's seconds away from the renders
        self._setting = False
        self._start = self.preview.params
        at = 0 if self.preview.lang == "en" else 1
        current = values(self._start)
        self.knobs = {knob.key: _widget(knob, current[knob.key], at) for knob in KNOBS}
        for widget in self.knobs.values():
            widget.observe(self._moved, "value")
        self.reset = w.Button(description=say("reset"), icon="undo")
        self.reset.on_click(lambda _: self.set_params(self._start))
        super().__init__(
            [
                self.preview.head,
                w.HBox(
                    [
                        w.Box(
                            [self.preview.main], layout=w.Layout(flex="1 1 420px", min_width="0")
                        ),
                        self._knob_panel(),
                    ],
                    # Knobs to the left of the picture; below it where the page is narrow.
                    layout=w.Layout(
                        width="100%", flex_flow="row-reverse wrap", justify_content="flex-end"
                    ),
                ),
                self._slot_panel(),
                self._recipe_panel(),
            ]
        )

    # --- panels ---

    def _knob_panel(self):
        parts = []
        for group in dict.fromkeys(knob.group for knob in KNOBS):
            parts.append(w.HTML(f"<b>{html.escape(self.say('group_' + group))}</b>"))
            parts += [self.knobs[knob.key] for knob in KNOBS if knob.group == group]
        return w.VBox([*parts, self.reset], layout=w.Layout(width="356px", padding="4px"))

    def _slot_panel(self):
        self.keep_buttons, self.show_buttons, self.notes = {}, {}, {}
        rows = []
        for slot in SLOTS:
            keep = w.Button(description=self.say("snapshot", slot=slot), icon="camera")
            show = w.Button(description=self.say("recall", slot=slot), disabled=True)
            note = w.Text(
                placeholder=self.say("notes"), layout=w.Layout(width="360px"), disabled=True
            )
            keep.on_click(lambda _, slot=slot: self.keep(slot))
            show.on_click(lambda _, slot=slot: self.recall(slot))
            note.observe(
                lambda change, slot=slot: self.snapshots.note(slot, change["new"]), "value"
            )
            self.keep_buttons[slot], self.show_buttons[slot], self.notes[slot] = keep, show, note
            rows.append(w.HBox([keep, show, note]))
        return w.VBox(rows)

    def _recipe_panel(self):
        say = self.say
        self.name = w.Text(placeholder=say("recipe"), layout=w.Layout(width="220px"))
        self.replace = w.Checkbox(
            description=say("replace"), indent=False, layout=w.Layout(width="auto")
        )
        self.save_button = w.Button(description=say("save"), layout=w.Layout(width="auto"))
        self.known = w.Dropdown(
            options=recipe_files.names(self.recipes_folder), layout=w.Layout(width="180px")
        )
        self.load_button = w.Button(description=say("load"))
        self.log_button = w.Button(description=say("log"), layout=w.Layout(width="auto"))
        self.said = w.HTML()
        self.box = StatusBar(self.clerk, say)
        self.save_button.on_click(lambda _: self.save())
        self.load_button.on_click(lambda _: self.load())
        self.log_button.on_click(lambda _: self.record())
        row = [self.name, self.replace, self.save_button, self.known, self.load_button]
        return w.VBox(
            [
                w.HBox(
                    [*row, self.log_button],
                    layout=w.Layout(flex_flow="row wrap", align_items="center"),
                ),
                self.said,
                self.box,
            ]
        )

    # --- what the user does ---

    def params(self):
        """The recipe as the knobs stand, with the chosen files in it."""
        settings = self.preview.params
        changes = {}
        if self.preview.video.chosen:
            changes["inputs.videos"] = [self.preview.video.chosen]
        if self.preview.audio.chosen:
            changes |= {"inputs.audio": self.preview.audio.chosen, "inputs.text": None}
        return settings.override(changes) if changes else settings

    def set_params(self, params, *, render=True):
        """Move all knobs to a recipe; one redraw, one render."""
        self._setting = True
        try:
            for key, value in values(params).items():
                widget = self.knobs[key]
                if isinstance(widget, w.FloatSlider):
                    # A recipe may go further than the slider usually does.
                    widget.min, widget.max = min(widget.min, value), max(widget.max, value)
                widget.value = value
        finally:
            self._setting = False
        self.preview.apply(params, render=render)

    def _moved(self, _):
        if self._setting:
            return
        changed = {key: _plain(widget.value) for key, widget in self.knobs.items()}
        self.preview.apply(self.preview.params.override(changed))

    def keep(self, slot):
        """Put the knobs, and their picture if it is up to date, into a slot."""
        self.snapshots.keep(slot, self.preview.params, self.preview.clip, self.notes[slot].value)
        self.show_buttons[slot].disabled = self.notes[slot].disabled = False

    def recall(self, slot):
        """Set the knobs back to a slot; its picture is shown without rendering."""
        kept = self.snapshots.recall(slot)
        clip, preview = kept.clip, self.preview
        same = clip is not None and (clip.start_s, clip.length_s) == (
            preview.start.value,
            preview.length.value,
        )
        self.set_params(kept.params, render=not same)
        if same:
            preview.worker.cancel()
            preview.show(clip)

    def save(self):
        """Write the recipe to params/NAME.yaml."""

        def act():
            path = recipe_files.save(
                self.params(),
                self.name.value,
                folder=self.recipes_folder,
                replace=self.replace.value,
            )
            self.known.options = recipe_files.names(self.recipes_folder)
            self.known.value = path.stem
            return self.say("saved", path=path)

        self._tell(act)

    def load(self):
        """Move the knobs to a saved recipe."""

        def act():
            params = recipe_files.load(self.known.value or "", folder=self.recipes_folder)
            self.set_params(params)
            return self.say("loaded", path=recipe_files.recipe_path(self.known.value))

        self._tell(act)

    def record(self):
        """Record the present knobs and clip in MLflow."""
        clip = self.preview.clip
        clip = clip if clip is not None and clip.params == self.preview.params else None
        snapshot = Snapshot(self.params(), clip, self.snapshots.noted(self.preview.params))
        name = self.name.value.strip() or "snapshot"
        session, curves = self.preview.session, None
        if clip is not None and session.draws_trajectory(clip.params):
            curves = session.aperture_curves(clip.params.lips, clip.start_s, clip.length_s)

        def work(progress, cancel):
            progress("MLflow", 0, 0)
            return experiment_log.log_snapshot(snapshot, name, curves=curves)

        def done(run):
            self.said.value = html.escape(self.say("logged", run=run))

        self.clerk.submit(work, done)

    def _tell(self, act):
        self.box.show(None)
        self.said.value = ""
        try:
            self.said.value = html.escape(act())
        except HeygemError as error:
            self.box.show(error)


def _plain(value):
    return round(value, 6) if isinstance(value, float) else value


def _widget(knob, value, at):
    name = knob.names[at]
    wide = w.Layout(width="345px")
    style = {"description_width": "165px"}
    if knob.is_switch:
        return w.Checkbox(value=value, description=name, tooltip=knob.help, layout=wide)
    return w.FloatSlider(
        value=value,
        min=min(knob.low, value),
        max=max(knob.high, value),
        step=knob.step,
        description=f"{name} [{knob.unit}]",
        tooltip=knob.help,
        readout_format=".2f" if knob.step < 1 else ".0f",
        layout=wide,
        style=style,
    )
