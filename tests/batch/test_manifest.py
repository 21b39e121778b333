"""Manifests: what makes two items the same, and when a result is up to date."""

import pytest

from heygem.batch.item import manifest
from heygem.config.params import Params
from heygem.core.files import sha256

VIDEO, AUDIO = "a" * 64, "b" * 64


def test_identity_depends_on_inputs_and_settings_only():
    params = Params()
    identity = manifest.item_id(params, VIDEO, AUDIO)
    assert identity == manifest.item_id(Params(), VIDEO, AUDIO)
    assert identity == manifest.item_id(params.override({"device": "cpu"}), VIDEO, AUDIO)
    changed = params.override({"lips.openness_gain": 1.1})
    others = {
        manifest.item_id(changed, VIDEO, AUDIO),
        manifest.item_id(params, AUDIO, AUDIO),
        manifest.item_id(params, VIDEO, VIDEO),
    }
    assert len(others | {identity}) == 4


def test_identity_depends_on_models_and_code(monkeypatch):
    identity = manifest.item_id(Params(), VIDEO, AUDIO)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "model_hashes", lambda params: {"lips": "c" * 64})
        assert manifest.item_id(Params(), VIDEO, AUDIO) != identity
    monkeypatch.setattr(manifest, "code_version", lambda: {"source_sha256": "d" * 64})
    assert manifest.item_id(Params(), VIDEO, AUDIO) != identity


@pytest.mark.parametrize("change", ["id", "status", "content", "missing", "no manifest", None])
def test_result_is_up_to_date_only_if_everything_matches(tmp_path, change):
    output = tmp_path / "video.mp4"
    output.write_bytes(b"a video")
    content = {"id": "1", "status": "done", "output": {"sha256": sha256(output)}}
    if change in ("id", "status"):
        content[change] = "other"
    elif change == "content":
        output.write_bytes(b"tampered")
    elif change == "missing":
        output.unlink()
    elif change == "no manifest":
        content = None
    assert manifest.is_up_to_date(content, "1", output) == (change is None)
