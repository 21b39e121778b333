"""Work in several threads: order, errors in their place, and nothing left running."""

import threading
import time

import cv2
import pytest

from heygem.core.streaming import IN_FLIGHT, BackgroundConsumer, one_opencv_thread, prefetch
from heygem.pipeline.progress import StepClock


def test_items_come_in_order_and_only_a_few_ahead():
    ahead = []

    def items():
        for k in range(50):
            ahead.append(k)
            yield k

    for k, item in enumerate(prefetch(items())):
        assert item == k
        assert len(ahead) <= k + IN_FLIGHT + 3


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("unplugged")

    received = []
    with pytest.raises(OSError, match="unplugged"):
        for item in prefetch(items()):
            received.append(item)
    assert received == [1, 2]


def test_closing_early_ends_the_thread_and_closes_the_source():
    closed = threading.Event()

    def items():
        try:
            yield from range(10_000)
        finally:
            closed.set()

    stream = prefetch(items())
    assert next(stream) == 0
    stream.close()
    assert closed.is_set()
    assert not [t for t in threading.enumerate() if t.name == "decode"]


def test_the_consumer_receives_everything_in_order_before_it_ends():
    received = []
    with BackgroundConsumer(received.append) as consumer:
        for k in range(100):
            consumer.put(k)
    assert received == list(range(100))


def test_an_error_of_the_consumer_is_raised_where_items_are_put():
    def consume(item):
        if item == 3:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), BackgroundConsumer(consume) as consumer:
        for k in range(1000):
            consumer.put(k)


def test_an_error_at_the_last_item_is_raised_at_the_end():
    def consume(item):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), BackgroundConsumer(consume) as consumer:
        consumer.put(1)


def test_an_error_of_the_producer_is_not_replaced():
    def consume(item):
        raise OSError("disk full")

    with pytest.raises(KeyError, match="mine"), BackgroundConsumer(consume) as consumer:
        consumer.put(1)
        raise KeyError("mine")


def test_steps_account_for_the_time_in_which_items_are_made():
    steps = StepClock()

    def busy():
        for k in range(3):
            end_s = time.thread_time() + 0.01
            while time.thread_time() < end_s:
                pass
            yield k

    assert list(prefetch(steps.each("decode", busy()))) == [0, 1, 2]
    with steps.step("encode"):
        pass
    timings = steps.per_frame(3)
    assert timings["decode_cpu_ms"] >= 10 > timings["encode_cpu_ms"]
    assert timings["frame_cpu_ms"] >= timings["decode_cpu_ms"]


def test_opencv_has_its_threads_back_when_the_last_of_two_films_is_drawn():
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with one_opencv_thread():
            with one_opencv_thread():
                assert cv2.getNumThreads() == 1
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
