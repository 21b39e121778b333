"""MLflow's runs of items that other machines made, recorded on the head.

MLflow's store is one database, which a network folder cannot hold, so nodes do not write to it.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from heygem.batch.cluster.storage import Folder, join
from heygem.batch.item.details import MANIFEST
from heygem.batch.items import DETAILS
from heygem.batch.outcome import Outcome
from heygem.batch.queue.job import Job
from heygem.batch.queue.recorded_batches import EndedBatch
from heygem.batch.queued_batch import end_batch
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.files import is_address
from heygem.experiments.batch_tracking import track_batch

log = logging.getLogger(__name__)


class HeadTracker:
    """Records items in a thread of its own, so that the driver does not wait for MLflow."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")

    def log(self, job: Job, outcome: Outcome) -> None:
        """Record what became of an item, where its recipe wants that."""
        if job.params.get("mlflow", {}).get("enabled"):
            self._thread.submit(self._record, job, outcome)

    def end(self, ended: EndedBatch) -> None:
        """End the run of a batch whose items are all recorded."""
        self._thread.submit(self._end, ended)

    def close(self, *, at_once: bool = False) -> None:
        """Wait until all is recorded, or spooled for the next batch; or only for the current one.

        What is left out at once is in the queue and in the manifests all the same.
        """
        self._thread.shutdown(wait=True, cancel_futures=at_once)

    def _end(self, ended: EndedBatch) -> None:
        try:
            problem = end_batch(ended)
        except (HeygemError, OSError) as error:
            problem = str(error)
        if problem:
            log.warning("%s: %s", ended.batch, problem)

    def _record(self, job: Job, outcome: Outcome) -> None:
        try:
            params = Params.from_dict(job.params)
            with track_batch(params, names=[job.name], batch=job.batch) as tracker:
                tracker.log(_complete(job, outcome, params))
            if tracker.problem:
                log.warning("%s: %s", job.name, tracker.problem)
        except (HeygemError, OSError) as error:
            log.warning("%s is not recorded in MLflow: %s", job.name, error)


def _complete(job: Job, outcome: Outcome, params: Params) -> Outcome:
    """The outcome with the manifest that the node has stored, which it did not send."""
    outcome = replace(outcome, params=params)
    if outcome.status not in ("done", "skipped"):
        return replace(outcome, manifest={})
    folder = params.inputs.output
    details = join(DETAILS, Path(job.output).stem)
    content = Folder(folder).read_json(join(details, MANIFEST)) or {}
    if is_address(folder):  # MLflow copies no videos out of a store
        return replace(outcome, manifest=content)
    output = Path(job.output)
    return replace(
        outcome, manifest=content, output=output, details=output.parent / DETAILS / output.stem
    )
