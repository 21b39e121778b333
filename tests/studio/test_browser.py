"""The notebooks in a real browser: what a person sees and presses.

Needs Chromium (`apt-get install chromium`, or its path in HEYGEM_CHROMIUM). Under CI a missing
browser is a failure; elsewhere these tests are skipped.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import nbformat
import pytest
from helpers.browser import DATA, HTTP_OK, PROJECT, TOKEN, Server, free_port
from helpers.recorded_runs import record
from nbformat.sign import NotebookNotary

from heygem import media
from heygem.config.params import Params
from heygem.experiments import runs
from heygem.server import jupyter

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("HEYGEM_SCREENSHOTS")  # for the documentation


@pytest.fixture
def lab_server(root):
    server = Server(lambda **how: jupyter.lab_command(notebook="notebooks", **how), root)
    yield server
    server.close()


def run_cells(page, server, name):
    open_notebook(page, server, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def run_notebook(page, server, name):
    run_cells(page, server, name)
    page.wait_for_function("document.querySelector('.hg-result video')?.dataset.shown")


def result_url(page):
    return page.evaluate("document.querySelector('.hg-result video').dataset.shown")


def open_notebook(page, server, name):
    page.goto(f"{server.base}/lab/tree/notebooks/{name}.ipynb?token={TOKEN}")
    page.wait_for_selector(".jp-Notebook-cell")
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle")


def sign(root, name):
    """As Jupyter does when a notebook is saved."""
    path = root / "notebooks" / f"{name}.ipynb"
    notary = NotebookNotary(data_dir=str(root / DATA))
    notary.sign(nbformat.read(path, as_version=4))


def test_preview_plays_source_and_result_side_by_side(page, lab_server, root):
    open_notebook(page, lab_server, "01_preview")
    page.wait_for_timeout(2000)
    prompts = page.locator(".jp-InputPrompt").all_inner_texts()
    assert not any(text.strip("[]: \n") for text in prompts), "another's parameters do not run"
    sign(root, "01_preview")
    page.reload()
    page.wait_for_function("document.querySelector('.hg-result video')?.dataset.shown")
    assert page.locator(".jp-CodeCell .cm-content:visible").count() == 0, "the code is folded"
    assert page.locator(".jp-mod-dirty").count() == 0, "opened, not edited"
    top = page.locator(".hg-player").bounding_box()["y"]
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/lab.png")
    assert 0 < top < 1000, "the page is in view"
    page.locator(".hg-play").click()
    page.wait_for_function("document.querySelector('.hg-result video').currentTime > 0.5")
    apart = page.evaluate(
        "Math.abs(document.querySelector('.hg-result video').currentTime"
        " - document.querySelector('.hg-source video').currentTime)"
    )
    assert apart < 0.15
    assert page.locator(".hg-timeline .hg-after").count() == 1
    before = result_url(page)
    overview = page.locator(".hg-overview")
    width = overview.bounding_box()["width"]
    overview.click(position={"x": 0.7 * width, "y": 5})  # another span; scrolls to it first
    page.wait_for_function(
        "was => document.querySelector('.hg-result video').dataset.shown != was", arg=before
    )
    assert lab_server.status("/" + result_url(page)) in (302, 403), "not without the token"
    assert lab_server.status("/" + result_url(page), token=True) == HTTP_OK


def test_from_a_slider_to_the_video_in_mlflow(page, lab_server, root, short_samples):
    """Tune, keep the recipe, run it as a job, find it in MLflow and play it."""
    run_notebook(page, lab_server, "02_tuning")
    curve = "document.querySelector('.hg-curves').innerHTML"
    for _ in range(2):
        picture, path = result_url(page), page.evaluate(curve)
        page.locator('.widget-slider:has-text("Opening") .noUi-handle').first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"was => {curve} != was", arg=path)
        page.wait_for_function(
            "was => document.querySelector('.hg-result video').dataset.shown != was", arg=picture
        )
    handle = page.get_by_role("slider", name="Opening [×]", exact=True)
    assert "How far the mouth opens" in handle.get_attribute("aria-description")
    page.get_by_role("button", name="Keep as A").click()
    page.get_by_placeholder("Recipe name").fill("from-the-browser")
    page.get_by_role("button", name="Save as params/NAME.yaml").click()
    page.wait_for_selector("text=Saved params/from-the-browser.yaml")
    recipe = root / "notebooks" / "params" / "from-the-browser.yaml"
    saved = Params.from_yaml(recipe)
    assert saved.lips.openness_gain == pytest.approx(1.1)
    assert saved.inputs.videos == (str(short_samples / "hopper.mp4"),)
    page.get_by_role("button", name="Log to MLflow").click()
    page.wait_for_selector("text=Logged as run")
    page.get_by_placeholder("Recipe name").fill("../outside")
    page.get_by_role("button", name="Save as params/NAME.yaml").click()
    page.wait_for_selector("text=not a name for a recipe")
    (run,) = runs.list_runs(root / "mlruns")
    assert (
        run.name == "from-the-browser: openness_gain 1.1"
        and run.kind == "snapshot"
        and run.video is not None
    )
    assert run.params["lips.openness_gain"] == "1.1" and run.lip_curve is not None

    run_heygem(root, "run", recipe, "--set", "media.preset=ultrafast")
    item = runs.list_runs(root / "mlruns", kinds=("video",))[0]
    assert item.name == "hopper-speech_en: openness_gain 1.1"
    assert item.params["lips.openness_gain"] == "1.1"
    with mlflow_ui(root) as address:
        page.goto(address)
        page.locator(f"a[href$='/runs/{item.id}']").click()
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text("video", exact=True).first.click()
        page.get_by_text("hopper-speech_en.mp4").first.click()
        page.wait_for_function("document.querySelector('video')?.readyState > 0")
        page.evaluate("document.querySelector('video').play()")
        page.wait_for_function("document.querySelector('video').currentTime > 0.2")
        length_s = page.evaluate("document.querySelector('video').duration")
        assert length_s == pytest.approx(item.metrics["output.duration_s"], abs=0.1)


def test_recorded_videos_play_in_step_and_their_comparison_is_recorded(
    page, lab_server, root, short_samples
):
    for name in ("hopper", "collins"):
        record(root / "mlruns", name, files=[short_samples / f"{name}.mp4"], params={"who": name})
    run_cells(page, lab_server, "20_compare")
    every = "[...document.querySelectorAll('.hg-panels video')]"
    page.wait_for_function(f"{every}.length == 2 && {every}.every(v => v.dataset.shown)")
    page.locator(".hg-many .hg-play").click()
    page.wait_for_function(f"{every}.every(v => v.currentTime > 0.5)")
    times_s = page.evaluate(f"{every}.map(v => v.currentTime)")
    assert abs(times_s[0] - times_s[1]) < 0.15
    assert page.evaluate(f"{every}.map(v => v.muted)") == [False, True]
    page.locator(".hg-many .hg-play").click()
    page.get_by_label("Listen to B").click()
    page.wait_for_function(f"{every}.map(v => v.muted).join() == 'true,false'")
    at = page.evaluate(f"{every}[0].currentTime")
    page.get_by_label("One frame on").click()
    page.wait_for_function(f"was => {every}.every(v => v.currentTime > was + 0.02)", arg=at)
    page.get_by_role("searchbox", name="Filter: name").fill("collins")
    page.wait_for_function("document.querySelectorAll('.hg-runs tbody tr').length == 1")
    page.get_by_role("button", name="Log comparison to MLflow").click()
    page.wait_for_selector("text=Logged as run")
    (compared,) = runs.list_runs(root / "mlruns", kinds=("compare",))
    assert compared.video is not None and media.probe(compared.video).tags.get("AIGC")


def run_heygem(root, *words):
    """The command, in the folder that is served."""
    command = [sys.executable, "-c", "from heygem.cli.main import main; main()", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def mlflow_ui(root):
    """The MLflow UI as `heygem ui` starts it; gives the address it prints."""
    port = free_port()
    command = [sys.executable, "-c", "from heygem.cli.main import main; main()", "ui"]
    command += ["--folder", str(root / "mlruns"), "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with open(root / "ui.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        address = process.stdout.readline().split()[0]
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://{jupyter.LOOPBACK}:{port}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, (root / "ui.log").read_text()
                assert time.monotonic() < deadline, (root / "ui.log").read_text()
                time.sleep(0.3)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        process.stdout.close()


def test_the_studio_makes_a_batch_with_one_broken_item_and_packs_the_results(
    page, studio_server, short_samples, tmp_path
):
    folder = tmp_path / "people"
    folder.mkdir()
    shutil.copy(short_samples / "hopper.mp4", folder / "hopper.mp4")
    (folder / "broken.mp4").write_bytes((short_samples / "hopper.mp4").read_bytes()[:40_000])
    assert studio_server.status("/voila/render/notebooks/04_studio.ipynb") == 302
    assert studio_server.status("/voila/files/notebooks/04_studio.ipynb") == 403
    page.goto(f"{studio_server.base}/voila/render/notebooks/04_studio.ipynb?token={TOKEN}")
    page.wait_for_selector("text=Add to the queue")
    sound = page.get_by_role("textbox", name="Sound").first
    sound.fill(str(short_samples / "speech_en.wav"))
    sound.press("Enter")
    files = page.locator("select[multiple]:visible")
    place = page.locator(
        ".widget-vbox:has(> * > select[multiple]:visible) > * > .widget-text input"
    )
    place.fill(str(folder))
    place.press("Enter")
    files.locator("option", has_text="broken.mp4").wait_for(state="attached")
    files.select_option(["broken.mp4", "hopper.mp4"])
    page.get_by_role("button", name="Add to the queue").click()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_selector("text=1 of 2 finished, 1 failed")
    assert page.locator(".hg-jobs [role=alert]").count() == 1
    page.reload()  # the queue is found again
    page.wait_for_selector("text=1 of 2 finished, 1 failed")
    page.get_by_role("tab", name="History").click()
    page.get_by_role("button", name="Make a ZIP of all").click()
    with page.expect_download() as download:
        page.locator("a.hg-zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "hopper-speech_en.json",
            "hopper-speech_en.mp4",
        ]
