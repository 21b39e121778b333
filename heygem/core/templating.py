"""Reports from Jinja templates: a package's folder `templates` holds them."""

import math
from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(
    package: str,
    name: str,
    /,
    *,
    filters: dict[str, Callable[..., Any]] | None = None,
    **values: Any,
) -> str:
    """Render the template `templates/<name>.j2` of a package.

    Parameters
    ----------
    package
        Such as `heygem.provenance`.
    name
        Without `.j2`. Values in a name that ends in `.html` are escaped; in Markdown, by filters.
    filters
        Functions that the template applies to values, by name.
    """
    environment = Environment(
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=name.endswith(".html"),
    )
    environment.filters.update(filters or {})
    return environment.get_template(f"{name}.j2").render(**values)


def clock(seconds: float) -> str:
    """A length of time for a reader: "8.2 s", "3 min 12 s", "2 h 5 min"; a dash for NaN."""
    if not math.isfinite(seconds):
        return "–"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
