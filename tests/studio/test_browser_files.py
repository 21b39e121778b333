"""One's own files in the studio, in a real browser: sent, judged, made, played; by anybody.

As for `test_browser`: under CI a missing browser is a failure, elsewhere a skip.
"""

import base64
import os
import re
import shutil

import numpy as np
import pytest
from helpers.browser import SAMPLES, TOKEN, barriers
from helpers.media import write_video, write_wav

from heygem import media
from heygem.core import i18n
from heygem.studio.scripts import widget_script

pytestmark = pytest.mark.browser


@pytest.fixture
def own_files(tmp_path, short_samples):
    """A folder on the user's computer: a sound above the web socket's limit, and three videos."""
    folder = tmp_path / "computer"
    folder.mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 16000 * 200)
    write_wav(folder / "long.wav", noise.astype("f4"))
    assert (folder / "long.wav").stat().st_size > 12e6
    speech = media.read_audio(SAMPLES / "speech_en.wav")
    write_wav(folder / "voice.wav", speech.samples[: 3 * speech.rate_hz, 0], rate_hz=speech.rate_hz)
    shutil.copy(short_samples / "hopper.mp4", folder / "anna.mp4")
    write_video(folder / "faceless.mp4", frames=100, width=160, height=120, crf=5)
    whole = (folder / "faceless.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def drop(page, place, files):
    """Let go of files above the n-th visible place for files, as a mouse does."""
    parts = [(f.name, base64.b64encode(f.read_bytes()).decode()) for f in files]
    page.evaluate(
        """([place, parts]) => {
          const data = new DataTransfer();
          for (const [name, base64] of parts) {
            const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
            data.items.add(new File([bytes], name));
          }
          const zones = [...document.querySelectorAll(".hg-drop")].filter((z) => z.offsetParent);
          const how = { dataTransfer: data, bubbles: true, cancelable: true };
          for (const kind of ["dragenter", "dragover", "drop"])
            zones[place].dispatchEvent(new DragEvent(kind, how));
        }""",
        [place, parts],
    )


def tab_to(page, name):
    """Press Tab until a control of this name has the focus: nothing but the keyboard is needed."""
    focused = """() => { const e = document.activeElement;
      if (e === document.body) return "";
      return e.getAttribute("aria-label") || e.innerText || e.title || ""; }"""
    for _ in range(120):
        page.keyboard.press("Tab")
        if name in page.evaluate(focused):
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


def sentences(lang):
    """What the interface says in a language, as a whole: no names, no placeholders."""
    texts = i18n.phrases("interface", lang).values()
    return [text for text in texts if "{" not in text and len(text) >= (12 if lang == "en" else 4)]


def test_results_are_sorted_as_a_reader_sorts_them(page):
    names = ["Ben", "anna 10", "anna 2", "Anna 1"]
    rows = [{"id": n, "name": n, "date": n, "av_corr": None} for n in names]
    script = base64.b64encode(widget_script("result_list").encode()).decode()
    page.goto("about:blank")
    page.evaluate(
        """async ([script, rows]) => {
          const { default: widget } = await import(`data:text/javascript;base64,${script}`);
          const values = { rows, chosen: [], selected: "", labels: { sort: "", column_name: "name",
            chosen: "", search: "", choose_all: "", check_seconds: "" } };
          const model = { get: (name) => values[name], set() {}, save_changes() {}, on() {} };
          widget.render({ model, el: document.body });
        }""",
        [script, rows],
    )
    page.locator("select").select_option("column_name")
    assert page.locator("li b").all_inner_texts() == ["Anna 1", "anna 2", "anna 10", "Ben"]


def test_a_producer_drops_files_starts_watches_plays_and_downloads_with_mouse_or_keys(
    page, studio_server, root, own_files
):
    page.emulate_media(color_scheme="dark")
    notebook = (root / "notebooks" / "04_studio.ipynb").read_text()
    chinese = notebook.replace('lang = \\"en\\"', 'lang = \\"zh\\"')
    assert chinese != notebook
    (root / "notebooks" / "studio_zh.ipynb").write_text(chinese)
    page.goto(f"{studio_server.base}/voila/render/notebooks/04_studio.ipynb?token={TOKEN}")
    page.wait_for_selector("button:has-text('Add to the queue')")
    assert page.title() == "HeyGem studio" and page.locator("h1").count() == 1
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert all(int(level) < 90 for level in dark[4:-1].split(",")[:3]), dark

    place = page.locator("input[type=text][aria-label=Folder]:visible")
    listed, folder = page.locator("select[multiple]:visible"), place.input_value()
    listed.focus()
    page.keyboard.press("Home")  # the way up
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(500)
    assert place.input_value() == folder, "keys walk past folders"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "was => [...document.querySelectorAll('input[type=text][aria-label=Folder]')]"
        ".some(e => e.offsetParent && was.startsWith(e.value) && e.value !== was)",
        arg=folder,
    )

    sound, _ = page.locator(".hg-upload:visible input[type=file]").all()
    sound.set_input_files(own_files / "long.wav")  # more than the web socket takes
    page.wait_for_selector(".hg-verdicts >> text=long.wav")
    sent = root / "runs" / "uploads" / "long.wav"
    assert sent.read_bytes() == (own_files / "long.wav").read_bytes()
    drop(page, 0, [own_files / "voice.wav"])
    drop(page, 1, [own_files / f"{name}.mp4" for name in ("anna", "faceless", "cut")])
    page.wait_for_selector(".hg-verdicts .hg-good >> text=anna.mp4")
    page.wait_for_selector(".hg-verdicts .hg-unusable >> text=cut.mp4")
    page.wait_for_selector(".hg-verdicts .hg-unusable >> text=faceless.mp4")
    assert "cut short" in page.locator(".hg-verdicts li:has-text('cut.mp4')").inner_text()
    assert "no face" in page.locator(".hg-verdicts li:has-text('faceless.mp4')").inner_text()
    page.wait_for_selector(".hg-verdicts .hg-good >> text=voice.wav")

    shots = os.environ.get("HEYGEM_SCREENSHOTS")  # for the documentation
    if shots:
        page.screenshot(path=f"{shots}/own_files_dark.png")
    tab_to(page, "Add to the queue")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.hg-jobs li').length === 3")
    tab_to(page, "Start")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('.hg-jobs progress')].some(p => p.value > 0 && p.value < 1)"
    )
    live = ".hg-jobs li.hg-running img.hg-live[src^='data:image/jpeg']"
    page.wait_for_selector(live)  # what is being drawn
    if shots:
        page.screenshot(path=f"{shots}/live_dark.png", full_page=True)
    for scheme in ("dark", "light"):  # while it works
        page.emulate_media(color_scheme=scheme)
        for name in ("Single", "System", "Sweep", "Batch"):
            page.get_by_role("tab", name=name).click()
            page.wait_for_timeout(400)  # widgets are named in the next frame
            found = barriers(page)
            assert not found, f"{name}, {scheme}: {found}"
    page.wait_for_selector("text=1 of 3 finished, 2 failed")
    assert page.locator(".hg-jobs img.hg-live:visible").count() == 0
    shown = page.locator("body").inner_text()
    assert not re.search("[\u4e00-\u9fff]", shown), "an English page has no Chinese line"

    tab_to(page, "Batch")  # the tabs: one stop, then the arrow keys
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    tab_to(page, "History")
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    tab_to(page, "Play: anna.mp4")  # of the finished row: nobody must look for the film
    page.keyboard.press("Enter")
    videos = "[...document.querySelectorAll('video[src]')].filter(v => v.offsetParent)"
    page.wait_for_function(f"{videos}.length === 2 && {videos}[1].currentTime > 0")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(400)
        assert not barriers(page), f"History, {scheme}: {barriers(page)}"
    if shots:
        page.screenshot(path=f"{shots}/history.png")
    with page.expect_download() as download:
        page.locator("a.hg-download:visible").click()
    assert download.value.suggested_filename == "anna-voice.mp4"
    assert media.probe(download.value.path()).tags.get("AIGC")

    page.goto(f"{studio_server.base}/voila/render/notebooks/studio_zh.ipynb")
    page.wait_for_selector(".hg-jobs li >> nth=2")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(800)
    assert not barriers(page), f"in Chinese, dark: {barriers(page)}"
    shown = page.locator("main").inner_text()
    assert [text for text in sentences("en") if text in shown] == []
    assert "发生了什么" in shown
