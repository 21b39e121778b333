"""The batch page: choose inputs, order the queue, watch progress and errors."""

import html
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as w

from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import Translate, language_of
from heygem.core.types import PathLike
from heygem.server.client import HubQueue, JobQueue
from heygem.studio import links
from heygem.studio.file_picker import SAMPLES, FilePicker, FilesPicker
from heygem.studio.pair_table import PairTable, resolve_paths
from heygem.studio.queue_items import items_of, named_after
from heygem.studio.queue_view import QueueView
from heygem.studio.recipe_choice import RecipeChoice, RecipeDropdown, plain_name
from heygem.studio.status import poll

POLL_S = 0.5


class BatchPage(w.VBox):
    """Adds jobs to the queue, and shows it.

    Parameters
    ----------
    queue : JobQueue or HubQueue
        See `heygem.server.client.open_queue`.
    params : heygem.config.params.Params
        Recipe of the jobs that are added; its pairs are the initial content of the table.
    folder : path
        Initial folder of the file browsers; relative paths in the table start from it.
    translate : callable
    recipes_folder : path
        Where recipes are saved.
    """

    def __init__(
        self,
        queue: JobQueue | HubQueue,
        params: Params,
        *,
        folder: PathLike,
        translate: Translate,
        recipes_folder: PathLike = "params",
    ) -> None:
        self.queue, self.params, self.translate = queue, params, translate
        self.choice = RecipeChoice(params, recipes_folder, translate)
        self._folder = Path(folder).resolve()
        self.mode = w.ToggleButtons(
            options=[(translate("one_audio_many_videos"), "many"), (translate("pairs"), "pairs")],
            style={"button_width": "auto"},
        )
        self.audio = FilePicker(translate("audio"), folder, kind="audio", translate=translate)
        self.videos = FilesPicker(translate("videos"), folder, kind="video", translate=translate)
        self.video = FilePicker(translate("video"), folder, kind="video", translate=translate)
        self.pairs = PairTable(params, translate=translate)
        self.add_button = w.Button(
            description=translate("add"), button_style="primary", icon="plus",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.example_button = w.Button(
            description=translate("try_example"), icon="magic", layout=w.Layout(width="auto")
        )
        self.recipe = RecipeDropdown(
            self.choice, translate, selected=f"recipe:{links.query().get('recipe', '')}"
        )
        self.tune_link = w.HTML()
        self.jobs = QueueView(queue, self.choice, translate)
        choosing = w.VBox(
            [
                self.mode,
                w.HBox([self.audio, self.videos, self.video], layout=_wrapping()),
                w.HBox(
                    [self.recipe, self.tune_link, self.add_button, self.example_button],
                    layout=_wrapping(),
                ),
                self.pairs,
            ]
        )
        for box in (choosing, self.jobs):
            box.add_class("hg-card")
        super().__init__([choosing, self.jobs])
        self._connect()
        self.mode.value = "pairs" if self.pairs.rows.value else "many"
        self._update_layout()
        self._show_tune_link()
        self._offer_example()
        self.refresh()
        poll(self, POLL_S, BatchPage.update)

    def _connect(self) -> None:
        for widget, name in ((self.recipe, "value"), (self.audio, "chosen")):
            widget.observe(lambda _: self._show_tune_link(), name)
        self.videos.list.observe(lambda _: self._show_tune_link(), "value")
        self.mode.observe(lambda _: self._update_layout(), "value")
        self.add_button.on_click(lambda _: self.jobs.run_action(self.add_chosen))
        self.example_button.on_click(lambda _: self.jobs.run_action(self.add_example))
        self.pairs.button.on_click(lambda _: self.jobs.run_action(self.add_rows))
        self.jobs.observe(lambda _: self._offer_example(), "count")

    def add_chosen(self) -> None:
        """Queue the chosen files: the audio with each video, or one pair.

        Raises
        ------
        HeygemError
            No video or no audio is chosen.
        """
        if self.mode.value == "pairs":
            videos = [self.video.chosen] if self.video.chosen else []
        else:
            videos = self.videos.list.value
        if not videos:
            raise HeygemError("no video is chosen", remedy="choose one or more above")
        if not self.audio.chosen:
            raise HeygemError("no audio is chosen", remedy="a job needs a video and a sound")
        rows = [Pair(video=str(video), audio=self.audio.chosen) for video in videos]
        self._add(rows)

    def _add(self, rows: Sequence[Pair], name: str = "") -> None:
        """Queue rows with a style, by default the chosen one; another than the page's is named."""
        name = name or str(self.recipe.value)
        chosen = self.choice.apply(name)
        if name != self.choice.default():
            rows = [named_after(pair, name) for pair in rows]
        self.queue.add(items_of(resolve_paths(rows, self._folder), chosen))

    def make_again(self, pair: Pair, name: str) -> None:
        """Queue a pair with the named style, and start."""
        self._add([pair], name)
        self.jobs.start()
        self.refresh()

    def add_example(self) -> None:
        """Queue a sample person with a sample sound in the page's language, and start."""
        speech = SAMPLES / f"speech_{language_of(self.translate)}.wav"
        self.audio.chosen, self.videos.folder.value = str(speech), str(SAMPLES)
        self._add([Pair(video=str(SAMPLES / "hopper.mp4"), audio=str(speech))])
        self.jobs.start()

    def add_rows(self) -> None:
        """Queue the rows of the table, all or none."""
        audio = self.audio.chosen or self.params.inputs.audio
        rows = [
            pair if pair.audio or pair.text else pair.model_copy(update={"audio": audio})
            for pair in self.pairs.read()
        ]
        self._add(rows)
        self.pairs.rows.value = ""

    def _show_tune_link(self) -> None:
        """A link to the tuning page with what is chosen here."""
        videos = self.videos.list.value or ((self.video.chosen,) if self.video.chosen else ())
        name = str(self.recipe.value)
        address = links.page_link(
            "tuning",
            recipe=plain_name(name) if name.startswith("recipe:") else "",
            preset=plain_name(name) if name.startswith("preset:") else "",
            video=videos[0] if videos else "",
            audio=self.audio.chosen,
        )
        self.tune_link.value = (
            f'<a class="hg-link" href="{html.escape(address, quote=True)}" target="_blank">'
            f"{html.escape(self.translate('tune_recipe'))}</a>"
        )

    def refresh(self) -> None:
        """Read the queue and the saved recipes again."""
        self.recipe.refresh()
        self.jobs.table.recipes = [list(option) for option in self.recipe.options]
        self.jobs.refresh()

    def update(self) -> None:
        """Called at intervals while the page is open."""
        self.refresh()
        self.jobs.add_thumbnails()

    def _offer_example(self) -> None:
        """A queue that is empty offers to make an example."""
        is_first_minute = self.jobs.count == 0 and SAMPLES.is_dir()
        self.example_button.layout.display = "" if is_first_minute else "none"

    def _update_layout(self) -> None:
        many = self.mode.value == "many"
        self.videos.layout.display = "flex" if many else "none"
        self.video.layout.display = self.pairs.layout.display = "none" if many else "flex"
        self.add_button.description = self.translate("add" if many else "add_pair")


def _wrapping() -> w.Layout:
    return w.Layout(flex_flow="row wrap")
