"""Finished videos as a list in the page: searched, sorted, and chosen."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "results", "search", "sort", "choose_all", "choose", "chosen", "show", "delete", "copy_link",
    "link_copied", "no_match", "column_name", "column_date", "column_person", "column_sound",
    "column_recipe", "column_length", "column_av_corr", "column_size", "check_seconds",
)  # fmt: skip


class ResultList(anywidget.AnyWidget):
    """Cards with a picture, facts and buttons, below a search field and a choice of order.

    Attributes
    ----------
    rows : list of dict
        id, name, date (ISO 8601), person, sound, recipe; length_s, av_corr, bytes (numbers or
        None); picture (data URL, or empty); link.
    chosen : list of str
        Ids of the rows that are ticked.
    selected : str
        Id of the row that is shown in the player.
    request : dict
        Action requested by the user, set by the page: `action` ("show", "delete"), `id`, and a
        running number `n`.
    """

    _esm = widget_script("result_list")
    _css = _STATIC / "result_list.css"

    labels = traitlets.Dict().tag(sync=True)
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    chosen: traitlets.List[str] = traitlets.List().tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)
    request = traitlets.Dict().tag(sync=True)

    def __init__(self, translate: Translate) -> None:
        super().__init__(labels={key: translate(key) for key in _LABELS})
