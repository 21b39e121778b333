"""One's own files in the studio, in a real browser: sent, judged, made, played; by anybody.

As for `test_browser`: under CI a missing browser is a failure, elsewhere a skip.
"""

import importlib.resources
import os
import shutil

import numpy as np
import pytest
from helpers.browser import SAMPLES, TOKEN
from helpers.media import write_video, write_wav

pytestmark = pytest.mark.browser

BARRIERS = ("serious", "critical")  # what axe calls them


@pytest.fixture
def own_files(tmp_path):
    """A folder on the user's computer: a sound above the web socket's limit, and three videos."""
    folder = tmp_path / "computer"
    folder.mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 16000 * 200)
    write_wav(folder / "long.wav", noise.astype("f4"))
    assert (folder / "long.wav").stat().st_size > 12e6
    shutil.copy(SAMPLES / "speech_en.wav", folder / "voice.wav")
    shutil.copy(SAMPLES / "hopper.mp4", folder / "anna.mp4")
    write_video(folder / "faceless.mp4", frames=100, width=160, height=120, crf=5)
    whole = (folder / "faceless.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def barriers(page):
    """Serious findings of axe-core on the page as it is."""
    script = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js")
    page.evaluate(script.read_text() + ";0")
    answer = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (found["id"], node["html"][:160])
        for found in answer["violations"]
        if found["impact"] in BARRIERS
        for node in found["nodes"]
    ]


def test_own_files_are_sent_judged_and_queued_and_the_page_bars_nobody(
    page, studio_server, root, own_files
):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{studio_server.base}/voila/render/notebooks/04_studio.ipynb?token={TOKEN}")
    page.wait_for_selector("button:has-text('Add to the queue')")
    assert page.title() == "HeyGem studio" and page.locator("h1").count() == 1
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert all(int(level) < 90 for level in dark[4:-1].split(",")[:3]), dark

    sound, videos = page.locator(".hg-upload:visible input[type=file]").all()
    sound.set_input_files(own_files / "long.wav")  # more than the web socket takes
    page.wait_for_selector(".hg-verdicts >> text=long.wav")
    sent = root / "runs" / "uploads" / "long.wav"
    assert sent.read_bytes() == (own_files / "long.wav").read_bytes()
    sound.set_input_files(own_files / "voice.wav")
    videos.set_input_files([own_files / f"{name}.mp4" for name in ("anna", "faceless", "cut")])
    page.wait_for_selector(".hg-verdicts .hg-good >> text=anna.mp4")
    page.wait_for_selector(".hg-verdicts .hg-unusable >> text=cut.mp4")
    assert "cut short" in page.locator(".hg-verdicts li:has-text('cut.mp4')").inner_text()
    assert "no face" in page.locator(".hg-verdicts li:has-text('faceless.mp4')").inner_text()
    page.wait_for_selector(".hg-verdicts .hg-good >> text=voice.wav")

    if shots := os.environ.get("HEYGEM_SCREENSHOTS"):  # for the documentation
        page.screenshot(path=f"{shots}/own_files_dark.png")
    page.get_by_role("button", name="Add to the queue").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.hg-jobs li').length === 3")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for name in ("Single", "History", "System", "Batch"):
            page.get_by_role("tab", name=name).click()
            page.wait_for_timeout(400)  # widgets are named in the next frame
            found = barriers(page)
            assert not found, f"{name}, {scheme}: {found}"
