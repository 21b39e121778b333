"""Items per hour of one machine and of many: what is measured, what follows, what limits.

    python benchmarks/throughput.py                      stage rates and the model, as a table
    python benchmarks/throughput.py --actors 1,2,4       and beside it, measured on a local cluster

The model: an item costs an actor its wall time, its node processor time and bytes on a disk, and
the installation bytes on a network, transactions of the queue and rows of the ledger. Each of these
has a rate. With N actors, items per hour are the smallest of what each allows; the table names it.
Wall time and processor time of one item are those of an actor that works alone (with --actors: of
the cluster with one actor, else of this process); everything else is measured on its own.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUR_S = 3600.0
BEAT_S = 1.0  # heartbeat of a running item


@dataclass(frozen=True)
class Item:
    """What one item costs.

    Attributes
    ----------
    wall_s : float
        Time that an actor is busy with it.
    processor_s : float
        Of all its threads.
    read_bytes, written_bytes : int
        Of inputs and results.
    """

    wall_s: float
    processor_s: float
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True)
class Rates:
    """What the machines give.

    Attributes
    ----------
    disk : float
        Bytes a second of one node's disk.
    network : float
        Bytes a second of the link to the shared folder or store.
    ledger : float
        Items a second that one writer can record: two rows, two signatures, two look-ups each.
    claims : float
        Items a second that the queue can hand out and take back.
    beats : float
        Heartbeats a second that it can take.
    """

    disk: float
    network: float
    ledger: float
    claims: float
    beats: float


def predict(actors, nodes, cores, item, rates):
    """Items per hour that each part allows, smallest first.

    Parameters
    ----------
    actors, nodes, cores : int
        In all, in all, and of each node.
    item : Item
    rates : Rates

    Returns
    -------
    list of (str, float)
    """
    queue = 1.0 / (1.0 / rates.claims + item.wall_s / BEAT_S / rates.beats)
    moved = item.read_bytes + 3 * item.written_bytes  # encoded, signed as a copy, uploaded
    limits = {
        "actors": actors / item.wall_s,
        "processors": nodes * cores / item.processor_s,
        "disks": nodes * rates.disk / moved,
        "network": rates.network / (item.read_bytes + item.written_bytes),
        "ledger": rates.ledger,
        "queue": queue,
    }
    return sorted(
        ((name, rate * HOUR_S) for name, rate in limits.items()), key=lambda each: each[1]
    )


def measure_ledger(count=100):
    """Items a second that the head's one writer records; bodies are as large as a result's."""
    from heygem.batch.cluster.records import Records
    from heygem.provenance import binding

    body = {"fingerprint": "0" * 4000, "params": {"key": "x" * 1500}}
    with tempfile.TemporaryDirectory() as folder:
        records = Records(folder)
        began = time.perf_counter()
        for number in range(count):
            records.entries(subject=f"{number:064x}")
            records.entries(subject=f"{number:064x}")
            records.append("begun", f"{number}", body)
            records.sign_label(binding.DOMAIN + b"x" * 300)
            records.sign_c2pa(b"\x84\x6aSignature1" + b"x" * 1000)
            records.append("made", f"{number:064x}", body)
        return count / (time.perf_counter() - began)


def measure_queue(count=200):
    """Items a second that are claimed and finished, and heartbeats a second, of 5,000 items."""
    from heygem.batch.items import Item as Planned
    from heygem.batch.outcome import Outcome
    from heygem.batch.queue import JobQueue
    from heygem.config.params import Params

    with tempfile.TemporaryDirectory() as folder:
        queue = JobQueue(Path(folder) / "queue.db")
        recipe = {"videos": [f"{folder}/v.mp4"], "audio": f"{folder}/a.wav", "output": folder}
        params = Params.from_dict({"inputs": recipe})
        queue.add(
            [
                Planned(
                    f"i{k}", Path(folder, "v.mp4"), Path(folder, f"i{k}.mp4"), Path(folder), params
                )
                for k in range(5000)
            ]
        )
        job = queue.claim("beating")
        began = time.perf_counter()
        for step in range(count):
            queue.heartbeat(job.id, "beating", {"stage": "render", "done": step, "total": count})
        beats = count / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(count):
            job = queue.claim("taking")
            queue.finish(job.id, "taking", Outcome(job.name, Path(job.video), "done"))
        return count / (time.perf_counter() - began), beats


def measure_disk(size=64 << 20):
    """Bytes a second that are written to the temporary folder's disk and are safe there."""
    content = os.urandom(1 << 20)
    with tempfile.NamedTemporaryFile() as file:
        began = time.perf_counter()
        for _ in range(size >> 20):
            file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return size / (time.perf_counter() - began)


def recipe_of(arguments, folder, count):
    """A recipe of `count` items of equal cost: one person and sound, another setting each."""
    from heygem.config.params import Params

    pairs = [
        {
            "video": str(arguments.video.absolute()),
            "audio": str(arguments.audio.absolute()),
            "name": f"item-{number}",
            "lips.openness_gain": round(1.0 + number / 1000, 3),
        }
        for number in range(count)
    ]
    inputs = {"pairs": pairs, "output": str(folder)}
    return Params.from_dict({"inputs": inputs, "mlflow": {"enabled": False}})


def measure_actors(actors, arguments):
    """Items per hour, and the cost of one, on a local cluster of this many actors that are warm."""
    from heygem.batch.cluster.run import work
    from heygem.batch.items import plan_items
    from heygem.batch.queue import JobQueue

    count = actors + max(arguments.items, 2 * actors)  # each actor's first item loads its models
    with tempfile.TemporaryDirectory() as folder:
        queue = JobQueue(Path(folder) / "queue.db")
        queue.add(plan_items(recipe_of(arguments, Path(folder) / "out", count)))
        work(queue, actors=actors)
        jobs = sorted(queue.jobs(), key=lambda job: job.finished)
        failed = [job.message for job in jobs if job.state != "done"]
        if failed:
            raise SystemExit(failed[0])
        warm = jobs[actors:]
        spent = warm[-1].finished - jobs[actors - 1].finished
        return {
            "per_hour": len(warm) / spent * HOUR_S,
            "wall_s": sum(job.seconds for job in warm) / len(warm),
        }


def measure_item(arguments):
    """The cost of one item in this process, with models and avatar at hand."""
    import threading

    from heygem.batch.item.making import ModelCache, make_item
    from heygem.batch.items import plan_items
    from heygem.batch.queue import JobQueue

    with tempfile.TemporaryDirectory() as folder:
        queue = JobQueue(Path(folder) / "queue.db")
        queue.add(plan_items(recipe_of(arguments, Path(folder) / "out", 1 + arguments.items)))
        models, costs, timings = ModelCache(), [], {}
        while (job := queue.claim("here")) is not None:
            began, used = time.perf_counter(), time.process_time()
            outcome = make_item(job, models, lambda *_: None, threading.Event())
            if outcome.status != "done":
                raise SystemExit(outcome.error)
            costs.append((time.perf_counter() - began, time.process_time() - used))
            timings = outcome.timings
            queue.finish(job.id, "here", outcome)
        walls, processors = zip(*costs[1:], strict=True)
        return Item(
            sum(walls) / len(walls),
            sum(processors) / len(processors),
            arguments.video.stat().st_size + arguments.audio.stat().st_size,
            next((Path(folder) / "out").glob("*.mp4")).stat().st_size,
        ), timings


def print_model(item, rates, arguments):
    """The table of clusters: what limits them."""
    cores = arguments.cores_per_gpu
    print(f"\nitems per hour; one actor and {cores} cores per GPU, 8 GPUs per node:")
    for actors in (1, 10, 100, 1000):
        nodes = -(-actors // 8)
        limits = predict(actors, nodes, cores * min(actors, 8), item, rates)
        rest = ", ".join(f"{name} {rate:,.0f}" for name, rate in limits[1:4])
        name, rate = limits[0]
        print(f"  {actors:5d} GPUs: {rate:10,.0f}, limited by {name:10s} (then {rest})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, default=ROOT / "samples" / "collins.mp4")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--items", type=int, default=4, help="items that are timed")
    parser.add_argument("--actors", default="", help="numbers of local actors, as in 1,2,4")
    parser.add_argument("--network", type=float, default=10.0, help="of the store, Gbit/s")
    parser.add_argument("--cores-per-gpu", type=int, default=8)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    print(f"{cores} cores, load {load:.1f} when this began")
    claims, beats = measure_queue()
    rates = Rates(measure_disk(), arguments.network / 8 * 1e9, measure_ledger(), claims, beats)
    print(
        f"ledger {rates.ledger:.0f} items/s, queue {rates.claims:.0f} items/s and "
        f"{rates.beats:.0f} heartbeats/s, disk {rates.disk / 1e6:.0f} MB/s"
    )
    item, timings = measure_item(arguments)
    stages = ", ".join(
        f"{name.removesuffix('_s')} {value:.2f} s"
        for name, value in timings.items()
        if value and name.endswith("_s") and name != "seconds_per_second"
    )
    print(
        f"one item alone: {item.wall_s:.2f} s, {item.processor_s:.2f} processor seconds, "
        f"{item.written_bytes / 1e6:.2f} MB; {stages}"
    )
    for actors in (int(text) for text in arguments.actors.split(",") if text):
        name, predicted = predict(actors, 1, cores, item, rates)[0]
        measured = measure_actors(actors, arguments)
        print(
            f"{actors} local actors: predicted {predicted:.0f} items/h (limited by {name}), "
            f"measured {measured['per_hour']:.0f}; {measured['wall_s']:.2f} s an item, "
            f"load {os.getloadavg()[0]:.1f}"
        )
    print_model(item, rates, arguments)


if __name__ == "__main__":
    main()
