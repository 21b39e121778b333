"""What a user's studio asks the queue's service for, read into items of a batch.

A request is `{"items": [{"video": NAME, "audio": NAME, "text": TEXT, "language": "en",
"name": NAME, "settings": {"lips.offset_ms": 20}}], "batch": NAME}`, in which `video` and `audio`
are names of files that the user has sent (see `heygem.server.inputs`).
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heygem.batch.items import Item, plan_items
from heygem.core.errors import InputError
from heygem.server.admission import user_folder
from heygem.server.inputs import InputStore
from heygem.server.policy import Rules

MAX_ITEMS = 5000
Name = Annotated[str, Field(min_length=1, max_length=120)]


class RequestedItem(BaseModel):
    """One video."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: Name
    audio: Name | None = None
    text: str | None = Field(None, max_length=20_000)
    name: Name
    settings: dict[str, Any] = Field(default_factory=dict)


class Submission(BaseModel):
    """Several videos, all or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: tuple[RequestedItem, ...] = Field(min_length=1, max_length=MAX_ITEMS)
    batch: str = Field("", max_length=120)


def read_items(
    request: dict[str, Any], owner: str, rules: Rules, inputs: InputStore, results: Path
) -> list[Item]:
    """The items of a request, with the installation's recipe and the user's settings.

    Raises
    ------
    InputError
        It is not what it should be, or names a file that was not sent.
    PolicyError
        A setting is the owner's.
    ParameterError
        A setting has a wrong value.
    """
    try:
        submission = Submission.model_validate(request)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"the request is wrong: {first['msg']}", seen=place) from error
    rows = []
    for item in submission.items:
        rules.check_settings(item.settings)
        row = {"video": str(inputs.path(owner, item.video)), "name": item.name}
        if item.audio is not None:
            row["audio"] = str(inputs.path(owner, item.audio))
        if item.text is not None:
            row["text"] = item.text
        rows.append(row | item.settings)
    folder = results / user_folder(owner)
    shared = {"inputs.pairs": rows, "inputs.output": str(folder), "inputs.overwrite": False}
    cleared = {"inputs.audio": None, "inputs.text": None, "inputs.videos": ()}
    return plan_items(rules.recipe.override(shared | cleared))
