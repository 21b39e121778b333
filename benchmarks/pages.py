"""What a person waits for at the studio's pages in Chromium, and the server's memory after many.

    python benchmarks/pages.py [--repeats 5] [--loads 40]

- *studio*: from the request to the page whose buttons can be pressed (target 4 s);
- *first preview*: from the request of 02 to the first frame of the result (5 s), its person tracked
  before and the models on disk;
- *curve*, *preview*: from the key that moves a slider to the redrawn curve (0.1 s), and to the
  first frame of the new result.

The medians of `--repeats`, with the processor time of server and kernel (of all threads) for the
same work, since the machine's load affects the rest. Then the studio page is loaded `--loads`
times: the server's memory after 5, 10, 20 … loads, all kernels ended. Needs the packages of the
tests (playwright) and Chromium.
"""

import argparse
import json
import os
import secrets
import shutil
import socket
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import psutil

ROOT = Path(__file__).resolve().parents[1]
MARKS = (5, 10, 20, 40, 80)
SLOW_MS = 180_000
RESULT = "document.querySelector('.hg-result video')"
CURVES = "document.querySelector('.hg-curves').innerHTML"
#: Notes when an expression becomes true, in the page's own clock [ms].
WATCH = """test => { window.hgAt = 0; const look = () => {
  if (eval(test)) window.hgAt = performance.now(); else requestAnimationFrame(look); }; look(); }"""


class Studio:
    """A server as `heygem studio` starts it, with a queue of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        from heygem.server import jupyter

        with socket.socket() as free:
            free.bind((jupyter.LOOPBACK, 0))
            self.port = free.getsockname()[1]
        self._token, self.base = secrets.token_hex(8), f"http://{jupyter.LOOPBACK}:{self.port}"
        command = jupyter.studio_command(port=self.port, browser=False, root=ROOT)
        environment = jupyter.environment(self._token, ROOT)
        environment |= {"HEYGEM_QUEUE": str(folder / "queue.db"), "PYTHONPATH": str(ROOT)}
        environment |= {"JUPYTER_DATA_DIR": str(folder / ".data")}
        self._log = open(folder / "server.log", "wb")
        self.process = psutil.Popen(
            command, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log
        )
        while not self._answers():
            time.sleep(0.2)

    def address(self, name: str) -> str:
        return f"{self.base}/voila/render/notebooks/{name}.ipynb"

    def login(self, name: str) -> str:
        return f"{self.address(name)}?token={self._token}"

    def kernels(self) -> list:
        request = urllib.request.Request(f"{self.base}/api/kernels")
        request.add_header("Authorization", f"token {self._token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(Path(self._log.name).read_text())
        try:
            return isinstance(self.kernels(), list)
        except OSError:
            return False

    def cpu_s(self) -> float:
        """Processor time of the server and its kernels so far."""
        processes = [self.process, *self.process.children(recursive=True)]
        times = [process.cpu_times() for process in processes if process.is_running()]
        return sum(each.user + each.system for each in times)

    def wait_for_no_kernel(self) -> None:
        while self.kernels():
            time.sleep(0.3)
        time.sleep(4)  # the server looks every three seconds for memory to give back

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loads", type=int, default=40, help="0 leaves the memory out")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of the browser")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    options = ["--autoplay-policy=no-user-gesture-required"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="heygem-") as scratch, sync_playwright() as play:
        studio = Studio(Path(scratch))
        try:
            browser = play.chromium.launch(executable_path=arguments.chromium, args=options)
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.set_default_timeout(SLOW_MS)
            page.goto(studio.login("02_tuning"))  # tracks the person, fills the disk's cache
            page.wait_for_function(f"{RESULT}?.readyState >= 2")
            print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
            show("studio", [open_studio(page, studio) for _ in range(arguments.repeats)])
            tuning = [open_tuning(page, studio) for _ in range(arguments.repeats)]
            show("first preview", tuning)
            moves = [move_slider(page, studio) for _ in range(2 * arguments.repeats)]
            show("curve", [(curve_s, 0.0) for curve_s, _, _ in moves])
            show("preview", [(seconds, cpu_s) for _, seconds, cpu_s in moves])
            print(f"load {os.getloadavg()[0]:.1f}")
            measure_memory(page, studio, arguments.loads)
            browser.close()
        finally:
            studio.close()


def show(name: str, measured: list[tuple[float, float]]) -> None:
    """Print the median seconds and processor seconds of a measurement."""
    seconds, cpu_s = (median(column) for column in zip(*measured, strict=True))
    worst = max(each for each, _ in measured)
    print(f"{name:14} {seconds:7.3f} s (longest {worst:.3f})  CPU {cpu_s:.2f} s", flush=True)


def leave(page, studio: Studio) -> float:
    """End the page before; returns the processor time so far."""
    page.goto("about:blank")
    while studio.kernels():
        time.sleep(0.2)
    return studio.cpu_s()


def open_studio(page, studio: Studio) -> tuple[float, float]:
    cpu_s, began_s = leave(page, studio), time.perf_counter()
    page.goto(studio.address("04_studio"))
    page.get_by_role("button", name="Add to the queue").wait_for()
    return time.perf_counter() - began_s, studio.cpu_s() - cpu_s


def open_tuning(page, studio: Studio) -> tuple[float, float]:
    cpu_s, began_s = leave(page, studio), time.perf_counter()
    page.goto(studio.address("02_tuning"))
    page.wait_for_function(f"{RESULT}?.readyState >= 2")
    return time.perf_counter() - began_s, studio.cpu_s() - cpu_s


def move_slider(page, studio: Studio) -> tuple[float, float, float]:
    """Seconds from a key press to the curve and to the result, and the processor time of both."""
    cpu_s = studio.cpu_s()
    shown, curve = page.evaluate(f"[{RESULT}.dataset.shown, {CURVES}]")
    page.locator(".widget-slider .noUi-handle").nth(2).focus()
    page.evaluate(WATCH, f"{CURVES} !== {json.dumps(curve)}")
    began_ms = page.evaluate("performance.now()")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("window.hgAt > 0")
    curve_ms = page.evaluate("window.hgAt") - began_ms
    changed = f"{RESULT}.dataset.shown !== {json.dumps(shown)} && {RESULT}.readyState >= 2"
    page.wait_for_function(changed)
    seconds = (page.evaluate("performance.now()") - began_ms) / 1000
    return curve_ms / 1000, seconds, studio.cpu_s() - cpu_s


def measure_memory(page, studio: Studio, loads: int) -> None:
    """Print the server's memory after so many loads of the studio page."""
    for number in range(1, loads + 1):
        page.goto(studio.address("04_studio"))
        page.get_by_role("button", name="Add to the queue").wait_for()
        if number in MARKS or number == loads:
            page.goto("about:blank")
            studio.wait_for_no_kernel()
            megabytes = studio.process.memory_info().rss / 1e6
            print(f"server after {number:3} loads: {megabytes:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
