"""The look of the pages, and the names of their controls for assistive technology."""

from pathlib import Path

import anywidget

from heygem.server import STYLE_SHEET

_STATIC = Path(__file__).parent / "static"


class PageStyle(anywidget.AnyWidget):
    """A widget without extent: one style sheet for the stock widgets, and names for their parts.

    Stock widgets give no name to a slider's handle, to a list without a visible label and to an
    image; a screen reader would announce "slider" and no more. Here their label or `tooltip` names
    them, and an image the text beside it.
    """

    _esm = _STATIC / "style.js"
    _css = STYLE_SHEET
