"""A choice between ready-made settings and saved recipes, for what a page makes next."""

from typing import Any

import ipywidgets as w

from heygem.config.params import Params
from heygem.config.presets import PRESETS
from heygem.core.errors import HeygemError
from heygem.core.i18n import Translate
from heygem.core.types import PathLike
from heygem.studio import recipe_files
from heygem.studio.controls import CONTROLS

#: Sections that a choice sets. Files, labels, records and machine stay those of the page.
SECTIONS = ("lips", "renderer", "face", "media", "audio")
MAX_SLIDERS = 2  # in the description of settings without a name
PAGE = "page"  # the recipe of the page itself
_PRESET, _RECIPE = "preset:", "recipe:"


class RecipeChoice:
    """Names of settings, and the parameters that each stands for.

    A name is `page` (as the page was opened), `preset:NAME` or `recipe:NAME`.

    Parameters
    ----------
    params : heygem.config.params.Params
        Of the page.
    folder : path
        Where recipes are saved.
    translate : callable
    """

    def __init__(self, params: Params, folder: PathLike, translate: Translate) -> None:
        self.params, self.folder, self._translate = params, folder, translate
        self._files: dict[str, tuple[int, Params | None]] = {}  # by recipe: its time, its content
        self._settings: dict[str, dict[str, Any]] = {}  # by name, for `name_of`

    def options(self) -> list[tuple[str, str]]:
        """(label, name) of everything that can be chosen; recipes that cannot be read are left out.

        The page's own recipe is listed where no ready-made one is the same.
        """
        presets = [(self._translate(f"preset_{name}"), _PRESET + name) for name in PRESETS]
        names = [name for name in recipe_files.list_recipes(self.folder) if self._recipe(name)]
        recipes = [(name, _RECIPE + name) for name in names]
        is_ready_made = any(self.settings(name) == self.settings(PAGE) for _, name in presets)
        page = [] if is_ready_made else [(self._translate("page_recipe"), PAGE)]
        return [*page, *presets, *recipes]

    def default(self) -> str:
        """What is chosen first: the page's own settings, under their ready-made name if any."""
        return self.name_of(self.params) or PAGE

    def apply(self, name: str, params: Params | None = None) -> Params:
        """Parameters with the settings of a name; everything else as in `params` or the page.

        Raises
        ------
        HeygemError
            There is no such recipe, or it cannot be read.
        """
        base = self.params if params is None else params
        return base.override(self.settings(name, strict=True))

    def settings(self, name: str, *, strict: bool = False) -> dict[str, Any]:
        """Dotted settings of a name; with `strict`, a recipe that cannot be read raises."""
        if name == PAGE:
            chosen: Params | None = self.params
        elif name.startswith(_PRESET):
            chosen = Params().override(PRESETS[name.removeprefix(_PRESET)])
        else:
            recipe = name.removeprefix(_RECIPE)
            chosen = self._recipe(recipe)
            if chosen is None and strict:
                chosen = recipe_files.load_recipe(recipe, folder=self.folder)
        return {} if chosen is None else style_of(chosen)

    def name_of(self, params: Params) -> str:
        """Name of the choice with these settings; empty where there is none."""
        style = style_of(params)
        names = [_PRESET + name for name in PRESETS]
        names += [_RECIPE + name for name in recipe_files.list_recipes(self.folder)]
        return next((name for name in [*names, PAGE] if self.settings(name) == style), "")

    def label_of(self, name: str) -> str:
        """What a name is called on the page."""
        return plain_name(name) if name.startswith(_RECIPE) else self._label(name)

    def describe(self, params: Params) -> str:
        """What settings are called: their name, else the few sliders that make them one's own."""
        name = self.name_of(params)
        if name:
            return self.label_of(name)
        own, base = style_of(params), style_of(self.params)
        changed = [key for key in own if own[key] != base.get(key)]
        sliders = [each for each in CONTROLS if each.key in changed and not each.is_switch]
        if len(changed) > MAX_SLIDERS or len(sliders) < len(changed):
            return self._translate("own_recipe")
        return ", ".join(f"{each.name(self._translate)} {own[each.key]:g}" for each in sliders)

    def _label(self, name: str) -> str:
        key = "page_recipe" if name == PAGE else f"preset_{plain_name(name)}"
        return self._translate(key)

    def _recipe(self, name: str) -> Params | None:
        """A saved recipe, read once for each version of its file; None where it is none."""
        try:
            path = recipe_files.recipe_path(name, self.folder)
            time_ns = path.stat().st_mtime_ns
            if self._files.get(name, (0,))[0] != time_ns:
                self._files[name] = (time_ns, None)
                self._files[name] = (time_ns, recipe_files.load_recipe(name, folder=self.folder))
        except (HeygemError, OSError):  # of another kind, such as a fine-tuning
            return None
        return self._files[name][1]


def plain_name(name: str) -> str:
    """A name without its kind."""
    return name.rpartition(":")[2]


def style_of(params: Params) -> dict[str, Any]:
    """The settings that a choice stands for, under dotted keys."""
    return {k: v for k, v in params.dotted().items() if k.partition(".")[0] in SECTIONS}


class RecipeDropdown(w.Dropdown):
    """A `RecipeChoice` to select from.

    Parameters
    ----------
    choice : RecipeChoice
    translate : callable
    selected : str
        Name; default: what the page was opened with.

    Attributes
    ----------
    is_updating : bool
        Whether the page changes the list: then no style was chosen by the user.
    """

    def __init__(self, choice: RecipeChoice, translate: Translate, *, selected: str = "") -> None:
        self.choice, self._own = choice, translate("own_recipe")
        self.is_updating = False
        self._listed = self._shown = choice.options()
        super().__init__(
            description=translate("style"), options=self._listed, tooltip=translate("style"),
            style={"description_width": "auto"}, layout=w.Layout(width="260px"),
        )  # fmt: skip
        names = [name for _, name in self._listed]
        wishes = [selected, choice.default()]
        self.value = next((name for name in wishes if name in names), names[0])

    def refresh(self) -> None:
        """List recipes that were saved meanwhile; what is selected stays."""
        self._listed = self.choice.options()
        names = [name for _, name in self._listed]
        self.show(self.value if self.value in ["", *names] else names[0])

    def show(self, name: str) -> None:
        """Select a name; empty: settings of one's own, which are listed only then."""
        options = self._listed if name else [(self._own, ""), *self._listed]
        self.is_updating = True
        try:
            if options != self._shown:
                self.options = self._shown = options  # selects the first one
            self.value = name
        finally:
            self.is_updating = False
