"""Reports from Jinja templates: a package's folder `templates` holds them."""

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
