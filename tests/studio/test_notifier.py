"""The browser's notification at the end of the queue."""

import json

import pytest

from heygem.batch.queue.job import STATES
from heygem.batch.queue.rows import StateTotals
from heygem.core.i18n import translator
from heygem.studio import notifier


def totals(**numbers):
    return {state: StateTotals(numbers.get(state, 0)) for state in STATES}


def test_a_message_goes_out_when_the_last_job_ends_and_counts_what_was_new():
    bell = notifier.Notifier(translator("en"))
    bell.update(totals(done=5, failed=1))  # a queue that was done when the page was opened
    assert bell.message == {}
    bell.update(totals(done=5, failed=1, pending=3))
    bell.update(totals(done=7, failed=1, running=1))
    assert bell.message == {}
    bell.update(totals(done=7, failed=2))
    bell.update(totals(done=7, failed=2))
    assert bell.message == {
        "title": "heygem: the queue is done", "body": "2 finished, 1 failed", "n": 1,
    }  # fmt: skip
    bell.update(totals(done=1, running=1))  # others were cleared meanwhile
    bell.update(totals(done=2))
    assert bell.message["body"] == "1 finished, 0 failed" and bell.message["n"] == 2


@pytest.mark.slow
@pytest.mark.browser
def test_the_browser_asks_on_a_click_and_shows_it_to_who_looks_elsewhere(browser, page):
    shown, asked = [], []
    page.route("https://studio.test/", lambda route: route.fulfill(
        content_type="text/html", body="<title>x</title><div id=el></div>"))  # fmt: skip
    page.expose_function("show", lambda title, body: shown.append((title, body)))
    page.expose_function("ask", lambda: asked.append(1))
    page.add_init_script("""
        window.Notification = class {
          static permission = "default";
          static async requestPermission() { await ask(); Notification.permission = "granted"; }
          constructor(title, options) { show(title, options.body); }
        };
        document.hasFocus = () => window.looksHere;""")
    page.goto("https://studio.test/")
    labels = {key: translator("en")(key) for key in notifier._PHRASES}
    source = notifier.Notifier._esm
    source = str(getattr(source, "read_text", lambda: source)())
    page.evaluate(
        """async ([source, labels]) => {
          const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
          const module = (await import(url)).default;
          const values = { labels, message: {} }, listeners = [];
          const model = { get: (key) => values[key], on: (_, f) => listeners.push(f), off() {} };
          window.send = (message) => { values.message = message; listeners.forEach((f) => f()); };
          module.render({ model, el: document.getElementById("el") });
        }""",
        [source, labels],
    )
    message = {"title": "heygem: the queue is done", "body": "2 finished", "n": 1}
    send = f"send({json.dumps(message)})"
    button = page.get_by_role("button")
    page.evaluate(send)
    assert shown == [] and asked == [], "nothing before a click"
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name=labels["notify_on"]).wait_for()
    assert asked == [1] and button.get_attribute("aria-pressed") == "true"
    page.evaluate("window.looksHere = true")
    page.evaluate(send)
    assert shown == [], "who looks at the page sees it there"
    page.evaluate("window.looksHere = false")
    page.evaluate(send)
    page.wait_for_timeout(100)
    assert shown == [(message["title"], message["body"])]
    button.click()
    page.get_by_role("button", name=labels["notify_ask"]).wait_for()
    page.evaluate(send)
    page.wait_for_timeout(100)
    assert len(shown) == 1
