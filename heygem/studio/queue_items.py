"""What a page adds to the queue."""

from collections.abc import Sequence
from pathlib import Path

from heygem.batch.items import Item, plan_items
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.studio.recipe_choice import plain_name


def items_of(rows: Sequence[Pair], params: Params) -> list[Item]:
    """The items of a table of pairs, with the other settings of a recipe."""
    if not all(pair.video and (pair.audio or pair.text) for pair in rows):
        raise HeygemError("a job needs a video and a sound", remedy="choose both")
    inputs = {"inputs.videos": (), "inputs.audios": (), "inputs.audio": None, "inputs.text": None}
    return plan_items(params.override({**inputs, "inputs.pairs": [pair.row() for pair in rows]}))


def named_after(pair: Pair, recipe: str) -> Pair:
    """A pair whose result names its recipe, so that those of two recipes lie side by side."""
    if pair.name:
        return pair
    speech = Path(pair.audio).stem if pair.audio else "text"
    return pair.model_copy(
        update={"name": f"{Path(pair.video).stem}-{speech}-{plain_name(recipe)}"}
    )
