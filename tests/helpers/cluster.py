"""Items of a cluster that take a moment, for tests of where and how often they are made.

An item's video is a small text file: `fine`, or what is to happen to it, and a number of seconds.
"""

import os
import signal
import time
from pathlib import Path

from heygem.batch.item import details
from heygem.batch.outcome import Outcome
from heygem.core.errors import InputError
from heygem.core.files import write_json
from heygem.core.interrupts import raise_if_cancelled

JOURNAL = "journal"  # folder beside the videos: one file for each attempt


def make_item(job, models, progress, cancel, *, ledger, keys):
    """Make an item as its video says; each attempt is noted beside the video."""
    item = job.item()
    kind, _, seconds = Path(item.video).read_text().partition(" ")
    journal = Path(item.params.inputs.audio).parent / JOURNAL
    journal.mkdir(exist_ok=True)
    attempt = len(list(journal.glob(f"{job.name}.*")))
    (journal / f"{job.name}.{attempt}").write_text(str(os.getpid()))
    if kind == "full":
        return Outcome(job.name, item.video, "failed", error="full", code="DISK_FULL")
    if kind == "bad":
        raise InputError("no face", seen=item.video.name)
    if kind == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "killed-once" and not attempt:
        os.kill(os.getpid(), signal.SIGKILL)
    begun = ledger.begin(job.id, {"title": job.name}, watermark_id=None)
    until = time.monotonic() + float(seconds or 0)
    step = 0
    while time.monotonic() < until:
        progress("render", step, 100)
        step += 1
        if kind != "deaf":
            raise_if_cancelled()
        time.sleep(0.02)
    item.output.write_bytes(f"made of {item.video.name}".encode())
    from heygem.core.files import sha256

    digest = sha256(item.output)
    ledger.finish(begun, digest, {"signature": keys.sign(_label_message())})
    content = {
        "schema": 1,
        "id": details.manifest.item_id(
            item.params, sha256(item.video), sha256(item.params.inputs.audio)
        ),
        "status": "done",
        "name": job.name,
        "output": {"file": f"../../{item.output.name}", "sha256": digest},
        "video": {"path": str(item.video)},
    }
    write_json(item.details, content)
    return Outcome(job.name, item.video, "done", output=item.output, manifest=content)


def _label_message():
    from heygem.provenance import binding

    return binding.DOMAIN + b"test"
