"""The signature that binds the metadata label to the coded picture and sound."""

import json
import zlib

import pytest
from helpers.labelled import RATE, make_audio, make_frame, remux, write_clip

from heygem.config.params import LabelSettings
from heygem.core.errors import OutputError
from heygem.provenance import aigc_tags, binding, containers, keys
from heygem.provenance.aigc import parse_label


@pytest.fixture(scope="module")
def own_keys(tmp_path_factory):
    return keys.init(tmp_path_factory.mktemp("keys") / "keys")


def write_bound(path, own_keys, *, produce_id="3f1c", seed=0):
    """A short clip with a bound label; returns the label's text."""
    tags = aigc_tags(LabelSettings(), produce_id, reserved=binding.reserve(own_keys.name))
    frames = [make_frame(k, seed) for k in range(12)]
    write_clip(path, frames, tags=tags, sound=make_audio(seed)[: 12 * 16000 // RATE])
    return binding.bind(path, tags["AIGC"], own_keys)


def is_bound(path):
    (text,) = containers.read_tags(path)
    label, problems = parse_label(text)
    assert problems == []
    stated = binding.parse_binding(label.ReservedCode1).content
    return label, stated == binding.hash_content(path)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.slow
def test_a_bound_label_reads_back_and_is_signed(tmp_path, own_keys, suffix):
    path = tmp_path / f"a.{suffix}"
    text = write_bound(path, own_keys)
    assert containers.read_tags(path) == [text]
    label, fits = is_bound(path)
    assert fits and binding.verify_binding(label, own_keys) is True
    other = keys.init(tmp_path / "other")
    assert binding.verify_binding(label, other) is None
    forged, _ = parse_label(text.replace("3f1c", "3f1d"))
    assert binding.verify_binding(forged, own_keys) is False


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
@pytest.mark.slow
def test_the_binding_survives_another_container(tmp_path, own_keys, suffix):
    write_bound(tmp_path / "a.mp4", own_keys)
    ours = tmp_path / "a.mp4"
    copy = remux(tmp_path / f"b.{suffix}", tags_of=ours, packets_of=[ours])
    assert is_bound(copy)[1]


@pytest.mark.slow
@pytest.mark.fault
def test_a_label_carried_to_another_film_does_not_fit(tmp_path, own_keys):
    write_bound(tmp_path / "a.mp4", own_keys)
    film = write_clip(tmp_path / "other.mp4", [make_frame(k, 5) for k in range(12)])
    forged = remux(tmp_path / "forged.mp4", tags_of=tmp_path / "a.mp4", packets_of=[film])
    label, fits = is_bound(forged)
    assert binding.verify_binding(label, own_keys) is True and not fits


@pytest.mark.slow
@pytest.mark.fault
def test_an_added_stream_is_noticed(tmp_path, own_keys):
    write_bound(tmp_path / "a.mp4", own_keys)
    film = write_clip(tmp_path / "other.mp4", [make_frame(k, 5) for k in range(12)])
    ours = tmp_path / "a.mp4"
    both = remux(tmp_path / "both.mp4", tags_of=ours, packets_of=[ours, film])
    assert not is_bound(both)[1]


@pytest.mark.fault
@pytest.mark.slow
def test_a_file_without_the_reserved_label_is_not_bound(tmp_path, own_keys):
    text = write_bound(tmp_path / "a.mp4", own_keys)
    before = (tmp_path / "a.mp4").read_bytes()
    tags = aigc_tags(LabelSettings(), "77", reserved=binding.reserve(own_keys.name))
    with pytest.raises(OutputError, match="cannot be bound"):
        binding.bind(tmp_path / "a.mp4", tags["AIGC"], own_keys)
    assert (tmp_path / "a.mp4").read_bytes() == before and text.encode() in before


@pytest.mark.slow
def test_the_checksum_of_matroska_tags_stays_right(tmp_path, own_keys):
    write_bound(tmp_path / "a.mkv", own_keys)
    data = (tmp_path / "a.mkv").read_bytes()
    start = data.rfind(b"\x12\x54\xc3\x67", 0, data.find(b"ReservedCode1")) + 4
    size, body = int.from_bytes(data[start : start + 2], "big") & 0x3FFF, start + 2
    assert data[start] & 0x40 and data[body : body + 2] == b"\xbf\x84"
    stored = int.from_bytes(data[body + 2 : body + 6], "little")
    assert stored == zlib.crc32(data[body + 6 : body + size])


def test_labels_of_the_earlier_version_are_recognised_as_unbound(tmp_path, own_keys):
    data = json.loads(aigc_tags(LabelSettings(), "abc")["AIGC"])
    label, _ = parse_label(json.dumps(data))
    data["ReservedCode1"] = own_keys.sign(label.signed_bytes)
    signed, _ = parse_label(json.dumps(data))
    assert binding.parse_binding(signed.ReservedCode1) is None
    assert own_keys.verify(signed.signed_bytes, signed.ReservedCode1) is True
