"""The proof run: many short items, some of them bad, workers that are killed, a disk that fills up.

    python benchmarks/night.py [--items 200] [--bad 20] [--kills 10] [--workers 2] [--out FILE.json]
    python benchmarks/night.py --cluster --workers 4

Workers, and the processes in which they make items, are killed (SIGKILL) at random, and started
again as a service manager would; once, half way, the disk of the results is full for a while. At
the end every item must be done (its file has the hash of its manifest, decodes to its end, its
labels verify) or have failed with the code of what is wrong with it; nothing is made twice, nothing
is left behind, and the ledger verifies. Prints a table, writes JSON, and exits with 1 where
anything is not so.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
POLL_S = 0.2
LIMIT_S = 6 * 3600.0
CLIP_FRAMES, CLIP_WIDTH = 20, 288
LONG = {"resources.max_minutes": 0.001}  # settings with which each sound is too long
#: The command `heygem`, with other times between tries; see --wait-s.
HEYGEM = """if True:
    from heygem.batch.queue import retry
    from heygem.batch.workers import room
    from heygem.cli.main import main
    retry.WAIT_S, room.ROOM_S = {wait_s}, {wait_s} / 2
    main()
"""


@dataclass(frozen=True)
class Row:
    """One item: its row of the table of pairs, and the code it must fail with, if any."""

    name: str
    video: Path
    audio: Path
    code: str = ""
    changes: dict[str, object] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--bad", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cluster", action="store_true", help="on Ray; see night_cluster.py")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--disk", default="256m", help="size of the results' disk, as mount has it")
    parser.add_argument("--full-s", type=float, default=20.0, help="how long it is full [s]")
    parser.add_argument("--wait-s", type=float, default=30.0, help="between tries on a full disk")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="night-")))
        figures = run(folder.absolute(), arguments)
    print_table(figures)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(1 if figures["problems"] else 0)


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """The whole night; returns its figures."""
    use_own_installation(folder)
    from heygem.batch.queue import JobQueue

    chance = random.Random(arguments.seed)
    rows = make_rows(folder / "inputs", arguments.items, arguments.bad, chance)
    with disk_of(folder / "out", arguments.disk) as (output, is_own_disk):
        queue = JobQueue(folder / "queue.db")
        jobs = queue.add(plan(rows, output), batch="night")
        for path in (folder / "inputs").glob("gone*"):  # after they were accepted
            path.unlink()
        started = time.monotonic()
        kind = Disturber
        if arguments.cluster:
            from night_cluster import ClusterDisturber as kind
        events = kind(queue, folder, output if is_own_disk else None, arguments, chance).run()
        seconds = time.monotonic() - started
        finished = {job.name: queue.get(job.id) for job in jobs}
        problems = [*problems_of_items(finished, rows), *problems_of_records(finished, output)]
    return {
        "items": len(rows),
        "bad": sum(bool(row.code) for row in rows),
        "workers": arguments.workers,
        "seconds": round(seconds, 1),
        "items_per_hour": round(3600 * len(rows) / seconds),
        **events,
        "attempts": sum(job.attempts for job in finished.values()),
        "losses": sum(job.losses for job in finished.values()),
        "states": dict(Counter(job.state for job in finished.values())),
        "codes": dict(Counter(j.error["code"] for j in finished.values() if j.state == "failed")),
        "problems": problems,
    }


def use_own_installation(folder: Path) -> None:
    """Keys, ledger and caches of this night alone; models are those of the installation."""
    from heygem.core.folders import model_folder

    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(model_folder().resolve())
    os.environ["HEYGEM_HOME"], os.environ["HEYGEM_RECORDS"] = str(home), str(folder / "records")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


# --- inputs ---


def make_rows(folder: Path, count: int, bad: int, chance: random.Random) -> list[Row]:
    """Small videos of two people with cuts of a speech, and some that cannot be made, shuffled."""
    folder.mkdir(parents=True)
    samples = ROOT / "samples"
    videos = [
        small_clip(samples / f"{name}.mp4", folder / f"{name}{first}.mp4", first)
        for name in ("hopper", "collins")
        for first in (0, 60)
    ]
    sounds = [
        cut_speech(folder / f"speech{k}.wav", 0.3 * k, chance.uniform(0.5, 1.0)) for k in range(10)
    ]
    rows = [
        Row(f"item{k:03d}", videos[k % len(videos)], sounds[k % len(sounds)])
        for k in range(count - bad)
    ]
    kinds = bad_rows(folder, videos[0], sounds[0])
    rows += [
        replace(kinds[k % len(kinds)], name=f"bad{k:02d}-{kinds[k % len(kinds)].name}")
        for k in range(bad)
    ]
    chance.shuffle(rows)
    return rows


def bad_rows(folder: Path, video: Path, sound: Path) -> list[Row]:
    """One row for each kind of input that cannot be used."""
    from heygem import media

    files = {
        "text.mp4": b"this is no video",
        "empty.mp4": b"",
        "cut.mp4": video.read_bytes()[: video.stat().st_size // 2],
        "noise.wav": np.random.default_rng(0).bytes(4000),
        "gone.mp4": video.read_bytes(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.mp4")
    media.write_wav(folder / "short.wav", np.zeros((400, 1), np.float32), 16000)
    grey = np.full((96, CLIP_WIDTH, 3), 128, np.uint8)
    write_clip(folder / "faceless.mp4", [grey] * CLIP_FRAMES, 25)
    return [
        *(Row(n, folder / f"{n}.mp4", sound, "BAD_INPUT") for n in ("text", "empty", "cut")),
        *(Row(n, folder / f"{n}.mp4", sound, "BAD_INPUT") for n in ("gone", "pipe")),
        *(Row(n, video, folder / f"{n}.wav", "BAD_INPUT") for n in ("noise", "short")),
        Row("faceless", folder / "faceless.mp4", sound, "NO_FACE"),
        Row("soundless", video, video, "BAD_INPUT"),
        Row("long", video, sound, "OVER_LIMIT", LONG),
    ]


def small_clip(source: Path, target: Path, first: int) -> Path:
    """Some frames of a clip, small and without sound."""
    import cv2

    from heygem import media

    with media.VideoReader(source, only=range(first, first + CLIP_FRAMES)) as reader:
        rate = reader.info.video.rate
        images = [frame.image for frame in reader]
    height = round(CLIP_WIDTH * images[0].shape[0] / images[0].shape[1] / 2) * 2
    small = [cv2.resize(i, (CLIP_WIDTH, height), interpolation=cv2.INTER_AREA) for i in images]
    return write_clip(target, small, rate)


def write_clip(target: Path, images: list[np.ndarray], rate: object) -> Path:
    from heygem import media

    height, width = images[0].shape[:2]
    with media.VideoWriter(
        target, label=media.RecordedFrames(), width=width, height=height, rate=rate
    ) as writer:
        for k, image in enumerate(images):
            writer.write(image, float(k / rate))
    return target


def cut_speech(target: Path, start_s: float, seconds: float) -> Path:
    """A part of the sample's speech."""
    from heygem import media

    track = media.read_audio(ROOT / "samples" / "speech_en.wav")
    first, count = int(start_s * track.rate_hz), int(seconds * track.rate_hz)
    media.write_wav(target, track.samples[first : first + count], track.rate_hz)
    return target


def plan(rows: list[Row], output: Path) -> list[object]:
    """The items of the night, as recipes plan them: one for most, and one with a lower limit."""
    from heygem.batch.items import plan_items
    from heygem.config.params import Params

    items = []
    for changes in ({}, LONG):
        pairs = [
            {"video": str(row.video), "audio": str(row.audio), "name": row.name}
            for row in rows
            if row.changes == changes
        ]
        if not pairs:
            continue
        inputs = {"pairs": pairs, "output": str(output)}
        tree = {"inputs": inputs, "mlflow": {"enabled": False}, "device": "cpu"}
        tree["media"] = {"preset": "ultrafast"}
        items += plan_items(Params.from_dict(tree).override(changes))
    return items


# --- what happens in the night ---


@contextlib.contextmanager
def disk_of(folder: Path, size: str) -> Iterator[tuple[Path, bool]]:
    """A small disk of its own for the results; a plain folder where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        is_own = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_own = False
    try:
        yield folder, is_own
    finally:
        if is_own:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Disturber:
    """Runs the workers until the queue is empty, and does to them what a bad night does."""

    def __init__(self, queue, folder, disk, arguments, chance):
        self.queue, self.folder, self.disk, self.chance = queue, folder, disk, chance
        self.arguments = arguments
        self.workers: list[subprocess.Popen[bytes]] = []
        self.kills: list[dict[str, object]] = []
        self.starts = 0
        last = max(2, arguments.items - 1)
        self.kill_at = sorted(chance.choices(range(1, last), k=arguments.kills))
        self.fill_at = arguments.items // 2 if disk is not None else None
        self.full_until = 0.0
        self.was_full = False
        self.pauses: list[str] = []

    def run(self) -> dict[str, object]:
        deadline = time.monotonic() + LIMIT_S
        try:
            while (counts := self.queue.counts())["pending"] or counts["running"]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the queue is not empty: {counts}")
                self.keep_workers()
                reason = self.queue.paused()
                if reason and reason not in self.pauses:
                    self.pauses.append(reason)
                finished = counts["done"] + counts["failed"]
                self.disturb_disk(finished)
                if self.kill_at and finished >= self.kill_at[0]:
                    time.sleep(self.chance.uniform(0.0, 2.0))
                    if self.kill_one(finished):
                        self.kill_at.pop(0)
                time.sleep(POLL_S)
        finally:
            self.empty_disk()
            for worker in self.workers:
                worker.send_signal(signal.SIGTERM)
                worker.wait()
        return {
            "worker_starts": self.starts,
            "disk_was_full": self.was_full,
            "pauses": self.pauses,
            "kills": self.kills,
        }

    def keep_workers(self) -> None:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self.arguments.workers:
            with open(self.folder / "workers.log", "ab") as log:
                queue = str(self.folder / "queue.db")
                program = HEYGEM.format(wait_s=self.arguments.wait_s)
                command = [sys.executable, "-c", program]
                command += ["worker", "--until-empty", "--queue", queue]
                self.workers.append(subprocess.Popen(command, stdout=log, stderr=log))
            self.starts += 1

    def kill_one(self, finished: int) -> bool:
        """End a worker, or a process in which it makes items, at once; False where none is."""
        worker = self.chance.choice(self.workers)
        target, what = psutil.Process(worker.pid), "worker"
        with contextlib.suppress(psutil.Error):
            children = target.children(recursive=True)
            if children and self.chance.random() < 0.6:
                target, what = self.chance.choice(children), "process of an item"
        with contextlib.suppress(psutil.Error):
            target.kill()
            self.kills.append({"after": finished, "what": what})
            return True
        return False

    def disturb_disk(self, finished: int) -> None:
        if self.fill_at is not None and finished >= self.fill_at:
            self.fill_at, self.was_full = None, True
            self.full_until = time.monotonic() + self.arguments.full_s
            with contextlib.suppress(OSError), (self.disk / "filler").open("wb") as file:
                while True:
                    file.write(b"\0" * 65536)
        elif self.full_until and time.monotonic() > self.full_until:
            self.empty_disk()

    def empty_disk(self) -> None:
        self.full_until = 0.0
        if self.disk is not None:
            (self.disk / "filler").unlink(missing_ok=True)


# --- what is left of it ---


def problems_of_items(finished: dict[str, object], rows: list[Row]) -> list[str]:
    """Items that are neither done with a right file nor failed for their own reason."""
    from heygem.batch.item.checks import check_result
    from heygem.core.errors import HeygemError
    from heygem.core.files import read_json
    from heygem.provenance import keys

    own, problems = keys.ensure(), []
    for row in rows:
        job = finished[row.name]
        if row.code:
            if (job.state, job.error.get("code")) != ("failed", row.code):
                problems.append(f"{row.name}: {job.state} with {job.error}, not {row.code}")
            if Path(job.output).exists():
                problems.append(f"{row.name}: has a result")
        elif job.state != "done":
            problems.append(f"{row.name}: {job.state} with {job.error}")
        else:
            output = Path(job.output)
            content = read_json(output.parent / "details" / job.name) or {}
            if content.get("status") != "done":
                problems.append(f"{row.name}: its manifest says {content.get('status')}")
            try:
                check_result(output, content, keys=own)
            except HeygemError as error:
                problems.append(f"{row.name}: {error}")
    return problems


def problems_of_records(finished: dict[str, object], output: Path) -> list[str]:
    """Files that no item has, and faults of the ledger."""
    from heygem.core.files import sha256
    from heygem.provenance import keys
    from heygem.provenance.ledger import Ledger

    done = {job.name: Path(job.output) for job in finished.values() if job.state == "done"}
    ledger = Ledger(keys=keys.ensure())
    problems = [f"ledger, row {fault.number}: {fault.problem}" for fault in ledger.verify()]
    made = {entry.subject for entry in ledger.entries(kind="made")}
    problems += [
        f"{n}: no row in the ledger" for n, path in done.items() if sha256(path) not in made
    ]
    expected = {path.name for path in done.values()} | {"details"}
    problems += [f"left behind: {path.name}" for path in output.iterdir()
                 if path.name not in expected and not path.name.endswith(".lock")]  # fmt: skip
    details = {path.name for path in (output / "details").iterdir()}
    return problems + [f"left behind: details/{name}" for name in sorted(details - set(done))]


def print_table(figures: dict[str, object]) -> None:
    for name, value in figures.items():
        if name == "kills":
            value = ", ".join(f"{kill['what']} after {kill['after']}" for kill in value)
        elif name == "problems":
            value = "\n".join(["", *value]) if value else "none"
        print(f"{name.replace('_', ' '):16} {value}")


if __name__ == "__main__":
    main()
