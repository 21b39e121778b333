"""The look of the pages: one style sheet for the stock widgets, light and dark."""

from pathlib import Path

import ipywidgets as w

_SHEET = Path(__file__).parent / "static" / "studio.css"


def style_sheet() -> w.HTML:
    """A widget without extent that brings the style sheet into a page."""
    sheet = w.HTML(f"<style>{_SHEET.read_text(encoding='utf-8')}</style>")
    sheet.layout.height = sheet.layout.margin = "0"
    return sheet
