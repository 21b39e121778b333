"""Parameters that Papermill injects into a notebook: unknown names are refused, dotted ones work.

Papermill writes the parameters as assignments into a cell behind that of the defaults. A name that
the notebook does not have is assigned all the same, with nothing but a line in Papermill's own log,
and a dotted name (`-p lips.openness_gain 1.3`) fails as an attribute of a dictionary. Both are
settled here, before the injected cell runs.
"""

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from heygem.config.renamed import RECIPE, show_notice
from heygem.core.errors import ParameterError

HEADER = "# Parameters"  # first line of the cell that Papermill injects


class InjectedParameters:
    """Resolves the names in the injected cell of the notebook that runs in an IPython shell.

    An input transformer of IPython: called with the lines of every cell before it runs.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    old_names : dict of str to str
        Parameters that were renamed: current name by old name.
    """

    def __init__(self, shell: Any, old_names: Mapping[str, str]) -> None:
        self._shell = shell
        self._old_names = old_names

    def __call__(self, lines: list[str]) -> list[str]:
        """The lines of a cell; those of the injected one with current, existing names."""
        if not lines or lines[0].strip() != HEADER:
            return lines
        cells = [source for source in self._shell.user_ns.get("In", ()) if source.strip()]
        try:
            source = resolve("".join(lines), cells[-1] if cells else "", self._old_names)
        except ParameterError as error:
            source = (
                "from heygem.core.errors import ParameterError\n"
                f"raise ParameterError({error.what!r}, seen={error.seen!r}, "
                f"remedy={error.remedy!r})\n"
            )
        return source.splitlines(keepends=True)


def install(shell: Any, old_names: Mapping[str, str]) -> None:
    """Have a shell resolve injected parameters, once, however often this is called."""
    present = shell.input_transformers_cleanup
    present[:] = [each for each in present if not isinstance(each, InjectedParameters)]
    present.append(InjectedParameters(shell, old_names))


def resolve(injected: str, defaults: str, old_names: Mapping[str, str]) -> str:
    """The source of the injected cell with current, existing names.

    Parameters
    ----------
    injected : str
        Assignments to names, or to dotted names.
    defaults : str
        The cell tagged `parameters`.
    old_names : dict of str to str
        Current name by old name, beside those of the recipe's sections.

    Returns
    -------
    str
        Source in which a dotted name sets a key of its section.

    Raises
    ------
    ParameterError
        The notebook has no parameter of a name, or one that holds no settings of its own.
    """
    is_section = default_parameters(defaults)
    current = {old: new for old, new in RECIPE.keys.items() if "." not in old} | dict(old_names)
    tree = ast.parse(injected)
    for node in tree.body:
        if isinstance(node, ast.Assign):
            node.targets = [_target(target, is_section, current) for target in node.targets]
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def default_parameters(source: str) -> dict[str, bool]:
    """Names in a cell of default parameters, each with whether it is a dictionary of settings."""
    return {
        target.id: isinstance(node.value, ast.Dict)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def _target(
    target: ast.expr, is_section: Mapping[str, bool], current: Mapping[str, str]
) -> ast.expr:
    """What is assigned to in place of a name or dotted name."""
    name, *keys = ast.unparse(target).split(".")
    if name not in is_section and current.get(name) in is_section:
        show_notice(f"`{name}` is now called `{current[name]}`")
        name = current[name]
    if name not in is_section:
        nearest = difflib.get_close_matches(name, is_section, 1)
        remedy = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(is_section)}"
        raise ParameterError(f"this notebook has no parameter {name!r}", remedy=remedy)
    if keys and not is_section[name]:
        raise ParameterError(
            f"the parameter {name!r} has no settings of its own",
            seen=".".join([name, *keys]),
            remedy=f"give {name} a value: -p {name} VALUE",
        )
    resolved: ast.expr = ast.Name(name, ast.Store() if not keys else ast.Load())
    for key in keys:
        resolved = ast.Subscript(resolved, ast.Constant(key), ast.Store())
    return resolved
