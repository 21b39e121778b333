"""Links from page to page: what a page was opened with, and the address of another page."""

import os
import urllib.parse

NOTEBOOKS = {"tuning": "02_tuning.ipynb", "studio": "04_studio.ipynb"}


def query() -> dict[str, str]:
    """What follows the `?` in the page's address; Voilà hands it to the kernel."""
    pairs = urllib.parse.parse_qsl(os.environ.get("QUERY_STRING", ""), max_num_fields=20)
    return {key: value for key, value in pairs if key != "token"}


def page_link(page: str, **values: str) -> str:
    """Address of another notebook beside this one, with what it is to open.

    Parameters
    ----------
    page : {"tuning", "studio"}
    values : str
        Empty ones are left out.
    """
    pairs = {key: value for key, value in values.items() if value}
    question = "?" + urllib.parse.urlencode(pairs) if pairs else ""
    return NOTEBOOKS[page] + question
