"""The webhook is told once that a batch has ended."""

import json

import pytest
from helpers.webhook import listening

from heygem.batch import announcement
from heygem.batch.queue.recorded_batches import EndedBatch

ENDED = EndedBatch(
    "night", {}, [("done", 1.0, 2.0, "/v/anna.mp4"), ("failed", 1.0, 2.0, "/v/ben.mp4")], 61.25
)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(announcement.webhook, "WAITS_S", (0.0,))
    monkeypatch.setattr(announcement, "_failed_at", {})
    monkeypatch.setenv("HEYGEM_WEBHOOK_SECRET", "a secret")


def test_the_message_has_counts_and_no_names_of_files(monkeypatch):
    with listening() as (address, received):
        assert announcement.announce(ENDED) == "", "nothing is set"
        monkeypatch.setenv("HEYGEM_WEBHOOK", address)
        assert announcement.announce(ENDED) == ""
    ((headers, body),) = received
    message = json.loads(body)
    assert message["text"] == "heygem: night: 1 of 2 videos made, 1 failed"
    assert message["data"] == {
        "batch": "night",
        "counts": {"done": 1, "failed": 1},
        "elapsed_s": 61.2,
    }
    assert b"anna" not in body and any(name.lower() == "webhook-signature" for name in headers)


def test_an_address_that_does_not_answer_is_left_alone_for_a_while(monkeypatch):
    with listening(500, 500) as (address, received):
        monkeypatch.setenv("HEYGEM_WEBHOOK", address)
        assert "HTTP 500" in announcement.announce(ENDED) and len(received) == 2
        assert "a moment ago" in announcement.announce(ENDED) and len(received) == 2
        monkeypatch.setattr(announcement, "COOL_DOWN_S", 0.0)
        assert announcement.announce(ENDED) == "" and len(received) == 3
    monkeypatch.setenv("HEYGEM_WEBHOOK", "https://user:key@example.invalid/x")
    problem = announcement.announce(ENDED)
    assert "no user and password" in problem and "key" not in problem
