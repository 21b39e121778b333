"""Records of batches and items, as `heygem.experiments.spool` keeps them and MLflow gets them."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from heygem.config.params import Params
from heygem.experiments import batch_summary, store
from heygem.experiments.batch_summary import manifest_metrics

MAX_CHANGES = 3  # settings named in the title of a run; its parameters have all
#: Sections whose settings tell one mouth from another of the same person and sound.
_TITLED = ("lips", "renderer", "face", "audio", "engine")
_RUN_STATUS = {"done": "FINISHED", "skipped": "FINISHED", "cancelled": "KILLED"}


class ItemOutcome(Protocol):
    """What is recorded of an item; `heygem.batch.outcome.Outcome` is one.

    `status` is "done", "failed", "skipped" or "cancelled"; `details` the folder of pictures and
    manifest; `manifest` empty for a failed item.
    """

    @property
    def name(self) -> str: ...
    @property
    def video(self) -> Path: ...
    @property
    def status(self) -> str: ...
    @property
    def speech(self) -> str: ...
    @property
    def params(self) -> Params | None: ...
    @property
    def output(self) -> Path | None: ...
    @property
    def details(self) -> Path | None: ...
    @property
    def error(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def manifest(self) -> dict[str, Any]: ...


def batch_record(params: Params, names: list[str], batch_id: str) -> dict[str, Any]:
    """The record of a batch, for `heygem.experiments.spool`."""
    tags = {"params_hash": params.digest(), "heygem.kind": "batch"}
    return {
        "kind": "batch",
        "id": batch_id,
        "batch": batch_id,
        "experiment": params.mlflow.experiment,
        "name": batch_title(folder_name(params), len(names)),
        "started_ms": store.now_ms(),
        "tags": {**store.owner_tags(), **tags},
        "params": storable_settings(params.dotted()),
        "recipe": params.to_yaml(),
    }


def single_record(params: Params, name: str, run_id: str) -> dict[str, Any]:
    """The record of the begin of a single video, which has one run and no batch's."""
    return {
        "kind": "batch",
        "id": run_id,
        "batch": run_id,
        "experiment": params.mlflow.experiment,
        "name": store.storable(name),
        "started_ms": store.now_ms(),
        "tags": {**store.owner_tags(), "heygem.kind": "video"},
        "params": {},
        "recipe": "",
    }


def folder_name(params: Params) -> str:
    """What a batch without a name is called."""
    return Path(params.inputs.output).name or "batch"


def batch_title(name: str, count: int, failed: int = 0) -> str:
    """Name of a batch's run: in a list of runs it stands beside those of its videos."""
    text = f"{name}: {count} video{'s' * (count != 1)}"
    return store.storable(f"{text}, {failed} failed" if failed else text)


def run_title(name: str, changes: Mapping[str, Any]) -> str:
    """Name of a run, by which it is told apart in a long list.

    Parameters
    ----------
    name : str
    changes : mapping
        Settings that differ from their defaults, by dotted keys.

    Returns
    -------
    str
        Such as "anna-speech: openness_gain 1.3, offset_ms 40"; what `name` says is not repeated.
    """
    short = {key.rpartition(".")[2]: value for key, value in changes.items()}
    texts = [f"{key} {value}" for key, value in short.items() if f"{key}={value}" not in name]
    text = ", ".join(texts[:MAX_CHANGES])
    text += f" and {len(texts) - MAX_CHANGES} more" if len(texts) > MAX_CHANGES else ""
    return store.storable(f"{name}: {text}" if text else name)


def _changes(params: Params) -> dict[str, Any]:
    """Settings of `_TITLED` sections that differ from their defaults."""
    default = Params().dotted()
    return {
        key: value
        for key, value in params.dotted().items()
        if value != default[key] and key.partition(".")[0] in _TITLED
    }


def shared_batch_record(params: Params, batch: str) -> dict[str, Any]:
    """The record of a batch by one of several processes that make it; see `join_batch`."""
    batch_id = shared_id(params, batch)
    return {
        "kind": "batch",
        "id": batch_id,
        "batch": batch_id,
        "shared": True,
        "experiment": params.mlflow.experiment,
        "name": store.storable(batch),
        "started_ms": store.now_ms(),
        "tags": {"heygem.kind": "batch"},
        "params": {},
        "recipe": "",
    }


def shared_id(params: Params, batch: str) -> str:
    """Id of the record of a batch that several processes make: from its name and its folder.

    The same batch, made again, continues in the same run.
    """
    key = f"{batch}\0{Path(params.inputs.output).absolute()}"
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def end_record(
    items: Sequence[batch_summary.ItemFacts],
    batch_id: str,
    status: str,
    elapsed_s: float,
    *,
    name: str = "",
    count: int = 0,
) -> dict[str, Any]:
    """The record of the end of a batch, for `heygem.experiments.spool`.

    `name` is that of the batch, which has `count` items (default: as many as `items`); empty for a
    single video, whose own record has all that counts.
    """
    failed = sum(item.status == "failed" for item in items)
    statuses = {item.status for item in items}
    if "cancelled" in statuses:
        status = "KILLED"
    elif "failed" in statuses:
        status = "FAILED"
    return {
        "kind": "end",
        "id": secrets.token_hex(16),
        "batch": batch_id,
        "ended_ms": store.now_ms(),
        "status": status,
        "name": batch_title(name, count or len(items), failed) if name else "",
        "metrics": batch_summary.metrics(items, elapsed_s) if name else {},
    }


def item_record(
    outcome: ItemOutcome, params: Params, batch_id: str, *, is_single: bool = False
) -> dict[str, Any]:
    """The record of an item, for `heygem.experiments.spool`.

    That of a single video completes the run of its `single_record`.
    """
    ended_ms = store.now_ms()
    record = {
        "kind": "item",
        "id": secrets.token_hex(16),
        "batch": batch_id,
        "experiment": params.mlflow.experiment,
        "single": is_single,
        "name": run_title(outcome.name, _changes(params)),
        "started_ms": ended_ms - round(outcome.seconds * 1000),
        "ended_ms": ended_ms,
        "status": _RUN_STATUS.get(outcome.status, "FAILED"),
        "tags": _item_tags(outcome, params),
        "params": storable_settings(params.dotted()),
        "metrics": manifest_metrics(outcome.manifest) | {"seconds": outcome.seconds},
    }
    if outcome.status == "done" and outcome.output is not None and outcome.details is not None:
        record["video"] = {
            "path": str(Path(outcome.output).absolute()),
            "sha256": outcome.manifest["output"]["sha256"],
            "details": str(Path(outcome.details).absolute()),
        }
    return record


def _item_tags(outcome: ItemOutcome, params: Params) -> dict[str, str]:
    tags = {
        **store.owner_tags(),
        "params_hash": params.digest(),
        "heygem.kind": "video",
        "heygem.status": outcome.status,
        "heygem.name": store.storable(outcome.name),
        "heygem.video": store.storable(outcome.video),
        "heygem.sound": store.storable(outcome.speech),
    }
    if outcome.error:
        tags["heygem.error"] = store.storable(outcome.error)
    if outcome.manifest:
        tags["heygem.item_id"] = outcome.manifest["id"]
        tags["heygem.output_sha256"] = outcome.manifest["output"]["sha256"]
    return tags


def storable_settings(settings: Mapping[str, Any]) -> dict[str, str | None]:
    """Settings as MLflow can store them."""
    return {key: None if each is None else store.storable(each) for key, each in settings.items()}
