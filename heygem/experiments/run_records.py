"""Records of batches and items, as `heygem.experiments.spool` keeps them and MLflow gets them."""

import hashlib
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from heygem.config.params import Params
from heygem.experiments import batch_summary, store

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
    folder = Path(params.inputs.output).name or "batch"
    content = names[0] if len(names) == 1 else f"{len(names)} items"
    tags = {"params_hash": params.digest(), "heygem.kind": "batch"}
    return {
        "kind": "batch",
        "id": batch_id,
        "batch": batch_id,
        "experiment": params.mlflow.experiment,
        # Never the name of its only item: in a list of runs the two stand beside each other.
        "name": store.storable(f"{folder}: {content}"),
        "started_ms": store.now_ms(),
        "tags": {**store.owner_tags(), **tags},
        "params": storable_settings(params.dotted()),
        "recipe": params.to_yaml(),
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
    items: Sequence[batch_summary.ItemFacts], batch_id: str, status: str, elapsed_s: float
) -> dict[str, Any]:
    """The record of the end of a batch, for `heygem.experiments.spool`."""
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
        "metrics": batch_summary.metrics(items, elapsed_s),
    }


def item_record(outcome: ItemOutcome, params: Params, batch_id: str) -> dict[str, Any]:
    """The record of an item, for `heygem.experiments.spool`."""
    ended_ms = store.now_ms()
    record = {
        "kind": "item",
        "id": secrets.token_hex(16),
        "batch": batch_id,
        "experiment": params.mlflow.experiment,
        "name": store.storable(outcome.name),
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


def manifest_metrics(manifest: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers of a manifest under dotted names: timings, counts, measures."""
    if not manifest:
        return {}
    metrics = {"warnings": float(len(manifest.get("warnings", ())))}
    for section in ("timings", "skipped_frames", "measures"):
        for key, value in (manifest.get(section) or {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                metrics[f"{section}.{_metric_name(key)}"] = float(value)
    for key in ("frames", "duration_s", "bytes"):
        value = manifest.get("output", {}).get(key)
        if value is not None:
            metrics[f"output.{key}"] = float(value)
    return metrics


def _metric_name(text: str) -> str:
    """A name that MLflow accepts."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in str(text))
