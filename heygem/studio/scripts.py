"""The scripts of the widgets, each with the functions that all of them use."""

from pathlib import Path

_STATIC = Path(__file__).parent / "static"


def widget_script(name: str) -> str:
    """The script of a widget as one module: a page loads each by itself, so none can import.

    Parameters
    ----------
    name : str
        Of a file in `static`, without its ending.
    """
    parts = [_STATIC / "dom.js", _STATIC / f"{name}.js"]
    return "".join(path.read_text(encoding="utf-8") for path in parts)
