"""The studio in a real browser: a table of pairs, dragged into order, and nothing from elsewhere.

As for `test_browser`: under CI a missing browser is a failure, elsewhere a skip.
"""

import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers.browser import PROJECT, SAMPLES, TOKEN, barriers

from heygem.batch.queue import JobQueue
from heygem.server import jupyter

pytestmark = pytest.mark.browser


# Names of what is cut off, and of text fields that reach the edge of the box that they are in.
TIGHT = """() => [...document.querySelectorAll(".widget-label, .widget-text")]
  .filter(e => e.offsetParent && (e.matches(".widget-text")
    ? e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right
    : e.scrollWidth > e.clientWidth + 1))
  .map(e => e.innerText || e.className)"""


def wait_for_order(page, *names):
    page.wait_for_function(
        "names => JSON.stringify([...document.querySelectorAll('.hg-jobs li b')]"
        ".map(b => b.textContent.split(' ')[1])) === JSON.stringify(names)",
        arg=list(names),
    )


def assert_the_form_has_one_edge_and_says_errors_below_its_button(page):
    page.get_by_role("radio").nth(2).check()  # somebody else: all fields
    page.get_by_label("Where the signed consent is kept").wait_for()
    fields = ".hg-labelled-above > input, .hg-labelled-above > .widget-label"
    edges = f"""() => [...document.querySelectorAll("{fields}")].filter(e => e.offsetParent)
      .map(e => Math.round(e.getBoundingClientRect().left))"""
    assert len(page.evaluate(edges)) == 11 and len(set(page.evaluate(edges))) == 1
    page.get_by_role("button", name="Fine-tune").click()
    error = page.get_by_role("alert").bounding_box()
    button = page.get_by_role("button", name="Fine-tune").bounding_box()
    assert 0 <= error["y"] - button["y"] - button["height"] < 40


def test_pairs_are_pasted_dragged_moved_by_keys_and_stopped(page, studio_server, root):
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
    page.goto(f"{studio_server.base}/voila/render/notebooks/04_studio.ipynb?token={TOKEN}")
    page.get_by_role("button", name="Table of pairs").click()
    assert page.url.endswith("04_studio.ipynb"), "the token is not in the address bar"
    scrolled = page.evaluate("getComputedStyle(document.querySelector('.lm-TabBar')).overflowY")
    assert scrolled == "hidden", "a bar of tabs has no scroll bar at its end"
    rows = [
        ("hopper.mp4", "speech_en.wav"),
        ("collins.mp4", "speech_zh.wav"),
        ("hopper.jpg", "speech_en.wav"),
    ]
    field = page.locator("textarea")
    field.fill("\n".join(f"{SAMPLES / video}\t{SAMPLES / sound}" for video, sound in rows))
    field.blur()
    page.get_by_role("button", name="Add all rows").click()
    wait_for_order(page, "hopper.mp4", "collins.mp4", "hopper.jpg")
    page.wait_for_selector(".hg-jobs li img[src^='data:image/jpeg']")

    grips = page.locator(".hg-grip")
    grips.nth(2).scroll_into_view_if_needed()
    last, first = grips.nth(2).bounding_box(), grips.nth(0).bounding_box()
    page.mouse.move(last["x"] + 8, last["y"] + 8)
    page.mouse.down()
    page.mouse.move(last["x"] + 8, last["y"] - 20, steps=4)
    page.mouse.move(first["x"] + 8, first["y"] + 2, steps=4)
    page.mouse.up()
    queue = JobQueue(root / "queue.db")
    wait_for_order(page, "hopper.jpg", "hopper.mp4", "collins.mp4")
    deadline = time.monotonic() + 20
    while [Path(job.video).name for job in queue.jobs()][0] != "hopper.jpg":
        assert time.monotonic() < deadline, "the new order is on the page only"
        time.sleep(0.1)

    grips.nth(0).focus()
    page.keyboard.press("ArrowDown")
    wait_for_order(page, "hopper.mp4", "hopper.jpg", "collins.mp4")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("hopper.jpg"), "the row that was moved keeps the focus"
    page.keyboard.press("End")
    wait_for_order(page, "hopper.mp4", "collins.mp4", "hopper.jpg")

    page.locator(".hg-jobs li").nth(1).get_by_role("button", name="Stop").click()
    page.wait_for_selector(".hg-jobs li.hg-cancelled >> text=collins.mp4")
    page.get_by_role("button", name="Stop all").click()
    page.wait_for_function("document.querySelectorAll('.hg-jobs li.hg-cancelled').length === 3")
    assert {urlsplit(url).hostname for url in requests if url.startswith("http")} == {
        jupyter.LOOPBACK
    }, "nothing is even asked of another host"

    page.reload()
    page.wait_for_selector("button:has-text('Add to the queue')")
    for name in ("03_finetune", "30_trace"):
        shutil.copy(PROJECT / "notebooks" / f"{name}.ipynb", root / "notebooks")
    for name in ("02_tuning", "03_finetune", "20_compare", "30_trace"):
        page.goto(f"{studio_server.base}/voila/render/notebooks/{name}.ipynb")
        page.wait_for_selector("main .jupyter-button:visible")
        if name == "03_finetune":
            assert_the_form_has_one_edge_and_says_errors_below_its_button(page)
        page.set_viewport_size({"width": 1000, "height": 1000})
        assert not page.evaluate(TIGHT), f"{name}: fields without a margin, or names cut off"
        page.set_viewport_size({"width": 1400, "height": 1000})
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(400)  # widgets are named in the next frame
            assert not barriers(page), f"{name}, {scheme}: {barriers(page)}"
    place = page.locator(".hg-picker input[type=text]")  # of the last page, one below the other
    place.fill(str(SAMPLES))
    place.press("Enter")
    page.wait_for_selector(".hg-picker img[src^='data:image/jpeg']")
    page.wait_for_function(
        "[...document.querySelector('.hg-picker').children].filter(e => e.offsetHeight)"
        ".map(e => e.getBoundingClientRect())"
        ".every((r, i, all) => !i || r.top >= all[i - 1].bottom)"
    )
    assert not complaints, "the browser's console has no error"
    page.goto("about:blank")
    deadline = time.monotonic() + 20
    while studio_server.kernels():
        assert time.monotonic() < deadline, "pages that were left keep their memory"
        time.sleep(0.2)
    assert TOKEN not in (root / "server.log").read_text()
