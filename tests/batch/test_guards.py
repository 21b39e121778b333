"""Guards: what an item needs, whether it may start, and what kind of failure it was."""

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers import disks
from helpers.batch import pairs_recipe, write_table
from helpers.media import tone, write_video, write_wav

from heygem.batch import runner
from heygem.batch.item import guards
from heygem.config.params import Params, ResourceSettings
from heygem.core import gpu
from heygem.core.errors import (
    DiskFullError,
    InputError,
    LimitError,
    OutOfMemoryError,
)
from heygem.pipeline.preflight import check_limits

GIB = 1 << 30


@pytest.fixture
def work(clip, wav, tmp_path):
    """A builder of items: a clip of 64x48, a second of sound."""

    def make(output=None, **settings):
        inputs = {"videos": [str(clip)], "audio": str(wav)}
        params = Params.from_dict({"inputs": inputs, "device": "cpu", **settings})
        output = output or tmp_path / "out" / "a.mp4"
        return SimpleNamespace(video=clip, output=output, params=params)

    return make


@pytest.fixture
def memory(monkeypatch):
    """Sets how much memory is free, and how much there is."""

    def set_to(free, total):
        monkeypatch.setattr(guards, "available_memory", lambda: (int(free), int(total)))

    return set_to


@pytest.mark.slow
def test_needs_grow_with_length_quality_and_size(work, tmp_path):
    small = guards.need_of(work())
    assert (small.width, small.height) == (64, 48) and small.duration_s == pytest.approx(1, abs=0.1)
    fine = guards.need_of(work(media={"crf": 12}))
    assert fine.output_bytes > small.output_bytes
    long = work()
    sound = write_wav(tmp_path / "long.wav", tone(4.0).samples)
    long.params = long.params.override({"inputs.audio": str(sound)})
    assert guards.need_of(long).output_bytes == pytest.approx(4 * small.output_bytes, rel=0.1)
    large = work()
    large.video = write_video(tmp_path / "large.mp4", width=640, height=480)
    assert guards.need_of(large).memory_bytes > small.memory_bytes


def test_a_batch_starts_where_there_is_room(work):
    assert guards.room_for([work(), work()]) == guards.START
    assert guards.room_for([]) == guards.START


@pytest.mark.fault
def test_a_full_disk_is_waited_for_and_its_lack_is_named(work, tiny_disk, monkeypatch):
    monkeypatch.setattr(guards, "RESERVE_BYTES", 100_000)
    items = [work(output=tiny_disk / f"{k}.mp4") for k in range(3)]
    assert guards.room_for(items).action == "start"
    disks.fill(tiny_disk, leave=50_000)
    verdict = guards.room_for(items)
    assert verdict.action == "wait" and not verdict
    assert isinstance(verdict.error, DiskFullError) and verdict.error.code == "DISK_FULL"
    assert str(tiny_disk) in str(verdict.error) and "more are needed" in str(verdict.error)
    (tiny_disk / "filler").unlink()
    assert guards.room_for(items)


@pytest.mark.fault
@pytest.mark.parametrize("place", ["cache", "temporary"])
def test_cache_and_temporary_folder_may_lie_on_disks_of_their_own(
    work, tiny_disk, monkeypatch, place
):
    monkeypatch.setattr(guards, "RESERVE_BYTES", 0)
    item = work()
    if place == "cache":
        monkeypatch.setenv("HEYGEM_HOME", str(tiny_disk))
    else:
        monkeypatch.setattr("tempfile.tempdir", str(tiny_disk))
        item.params = item.params.override({"inputs.audio": None, "inputs.text": "a" * 30})
    assert guards.room_for([item])
    disks.fill(tiny_disk)
    verdict = guards.room_for([item])
    assert verdict.action == "wait" and str(tiny_disk) in str(verdict.error)


@pytest.mark.slow
def test_what_is_missing_counts_all_results_but_working_files_of_running_items_only(
    work, monkeypatch
):
    monkeypatch.setattr(guards.disk, "usage", lambda folder: (0, 10**12))
    monkeypatch.setattr(guards, "_device", lambda folder: 1 if "out" in folder.parts else 2)
    need = guards.need_of(work())
    missing = guards.room_for([work()] * 100, workers=2).missing_bytes
    beside = need.working_bytes - need.output_bytes
    expected = guards.SPACE_MARGIN * (100 * need.output_bytes + 2 * beside)
    assert missing == pytest.approx(expected + guards.RESERVE_BYTES, rel=1e-6)


def test_an_unreadable_item_does_not_hold_up_the_others(work, tmp_path):
    broken = work()
    broken.video = tmp_path / "missing.mp4"
    assert guards.room_for([broken, work()])


@pytest.mark.slow
def test_memory_decides_between_start_smaller_wait_and_refuse(work, memory, tmp_path):
    item = work(resources={"batch_size": 64})
    item.video = write_video(tmp_path / "large.mp4", frames=2, width=1920, height=1080)
    pixels = 1920 * 1080
    memory(16 * GIB, 16 * GIB)
    assert guards.memory_for(item) == guards.START
    memory(guards.MEMORY_MARGIN * guards.memory_bytes(pixels, 17), 16 * GIB)
    smaller = guards.memory_for(item)
    assert smaller and smaller.changes == {"resources.batch_size": 16}
    memory(GIB // 2, 16 * GIB)
    assert guards.memory_for(item).action == "wait"
    memory(GIB // 2, GIB)
    refused = guards.memory_for(item)
    assert refused.action == "refuse" and isinstance(refused.error, OutOfMemoryError)


def test_a_gpu_that_is_full_leaves_the_item_to_the_cpu(work, memory, monkeypatch):
    import torch

    memory(64 * GIB, 64 * GIB)
    free = {"bytes": 40 * GIB}
    monkeypatch.setattr(gpu, "has_cuda", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free["bytes"]), 40 * GIB))
    item = work(device="auto", engine="wav2lip", resources={"batch_size": 64})
    assert guards.memory_for(item).action == "start"
    free["bytes"] = guards.MEMORY_MARGIN * guards.gpu_bytes(item.params, 64 * 48, batch_size=9)
    assert guards.memory_for(item).changes == {"resources.batch_size": 8}
    free["bytes"] = GIB // 4
    assert guards.memory_for(item).changes == {"device": "cpu"}
    asked_for = work(device="cuda", engine="wav2lip")
    assert guards.memory_for(asked_for).action == "wait"


def test_what_says_that_memory_ran_out_and_what_does_not():
    import torch

    ran_out = guards.is_out_of_memory
    assert ran_out(MemoryError()) and ran_out(OutOfMemoryError("too little"))
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert ran_out(RuntimeError("DefaultCPUAllocator: not enough memory: you tried"))
    wrapped = ValueError("the item failed")
    wrapped.__cause__ = MemoryError()
    assert ran_out(wrapped)
    assert not ran_out(InputError("no face")) and not ran_out(OSError(28, "No space left"))
    assert not ran_out(KeyError("out of memory"))  # a name in a message is no evidence


@pytest.mark.slow
@pytest.mark.fault
def test_memory_that_runs_out_is_recognised_whichever_library_says_so():
    script = """
import resource, sys
import cv2, numpy as np, torch
from heygem.batch.item.guards import is_out_of_memory
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
small = np.zeros((200, 200, 3), np.uint8)
for name, call in {
    "numpy": lambda: np.zeros(64 << 30, np.uint8) + 1,
    "torch": lambda: torch.zeros(64 << 30, dtype=torch.uint8) + 1,
    "cv2": lambda: cv2.resize(small, (150_000, 150_000)),
}.items():
    try:
        call()
    except Exception as error:
        print(name, is_out_of_memory(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["numpy", "True", "torch", "True", "cv2", "True"]


def test_memory_that_runs_out_inside_an_item_has_a_code(pipeline_stub, workdir, monkeypatch):
    def exhaust(*_, **__):
        raise cv2.error("OpenCV: Insufficient memory (Failed to allocate 8294400 bytes)")

    monkeypatch.setattr("heygem.pipeline.generate", exhaust)
    table = write_table(workdir, "video,audio\nanna.mp4,hello.wav\n")
    (outcome,) = runner.run(pairs_recipe(table)).outcomes
    assert outcome.code == "OUT_OF_MEMORY" and "anna" in outcome.error


def test_limits_are_generous_and_their_messages_name_the_setting(tmp_path):
    video = write_video(tmp_path / "a.mp4", frames=2, width=640, height=480)
    check_limits(ResourceSettings(), video, 3 * 3600)
    with pytest.raises(LimitError, match=r"300\.0 of at most 240 minutes.*resources\.max_minutes"):
        check_limits(ResourceSettings(), video, 5 * 3600)
    with pytest.raises(LimitError, match=r"640x480, 0\.3 of at most 0\.1.*max_megapixels"):
        check_limits(ResourceSettings(max_megapixels=0.1), video, 1.0)


def test_resources_are_no_part_of_a_result(work):
    plain = Params()
    assert plain.override({"resources.batch_size": 1}).digest() == plain.digest()
    assert np.isfinite(plain.resources.max_minutes)
