"""Avatar bundles: reading, copying, integrity and consent."""

import json
import shutil

import numpy as np
import pytest

from heygem import audio, avatar, lips, media, pipeline
from heygem.batch import runner
from heygem.batch.notebooks import root
from heygem.config.params import FaceSettings, Params
from heygem.core.errors import AssetError, ConsentError, InputError
from heygem.core.files import sha256
from heygem.finetune import bundle
from heygem.finetune.adapter import Adapter
from heygem.finetune.adapter import save as save_adapter
from heygem.provenance import consent
from heygem.provenance.ledger import Ledger

pytestmark = pytest.mark.slow


def test_a_bundle_reads_back(result, footage):
    assert sorted(p.name for p in result.path.iterdir()) == sorted(
        [*result.facts["files"], "avatar.json"]
    )
    person, model, facts = bundle.load(result.path)
    assert facts["sources"][0]["sha256"] == sha256(footage[0]) == person.sha256
    assert facts["consent"]["reference"] == "contract 12"
    assert facts["base_sha256"] == sha256(lips.SHIPPED)
    assert facts["held_out"] and facts["before"]["seconds"] > 5
    assert ("adapter.safetensors" in facts["files"]) == (not facts["kept_base"])
    plain = avatar.load(footage[0], FaceSettings())
    assert len(person.library.crops) == len(plain.library.crops)
    np.testing.assert_array_equal(person.track.points, plain.track.points)
    np.testing.assert_allclose(person.library.points, plain.library.points, atol=1e-3)
    assert media.probe(result.path).video.width == plain.track.width


def test_a_copied_bundle_generates_on_another_machine(result, tmp_path, monkeypatch):
    moved = tmp_path / "carried.heygem"
    shutil.copytree(result.path, moved)
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    sound = tmp_path / "short.wav"
    speech_en = audio.load(root() / "samples" / "speech_en.wav").samples[:24000]
    media.write_wav(sound, speech_en, 16000)
    params = Params.from_dict(
        {
            "inputs": {"videos": [str(moved)], "audio": str(sound), "output": str(tmp_path / "o")},
            "media": {"preset": "ultrafast"},
            "mlflow": {"enabled": False},
        }
    )
    (outcome,) = runner.run(params).outcomes
    assert outcome.status == "done", outcome.error
    assert outcome.manifest["finetuned"]["folder"] == "carried.heygem"
    assert outcome.manifest["finetuned"]["adapter"] == result.facts["files"].get(
        "adapter.safetensors"
    )
    ledger = Ledger(tmp_path / "records" / "ledger.db")
    (entry,) = ledger.entries(kind="consent")  # the bundle's statement is recorded
    assert entry.body["reference"] == "contract 12"
    (entry,) = ledger.entries(kind="made")
    assert entry.body["finetuned"]["footage"] == [result.facts["sources"][0]["sha256"]]
    assert entry.body["sources"].get("adapter") == result.facts["files"].get("adapter.safetensors")
    # A second run with the same content is skipped.
    (again,) = runner.run(params).outcomes
    assert again.status == "skipped"
    # A withdrawal in the ledger takes precedence over the bundle's statement.
    consent.withdraw(ledger, result.facts["sources"][0]["sha256"], reason="asked to")
    with pytest.raises(ConsentError, match="withdrawn"):
        pipeline.generate(moved, sound, tmp_path / "no.mp4", params)
    assert not (tmp_path / "no.mp4").exists()


def test_a_changed_or_incomplete_bundle_is_refused(result, tmp_path):
    changed = tmp_path / "changed.heygem"
    shutil.copytree(result.path, changed)
    (changed / "person.npz").write_bytes(b"something else")
    with pytest.raises(InputError, match="was changed"):
        bundle.load(changed)
    (changed / "person.npz").unlink()
    with pytest.raises(InputError, match="not complete"):
        bundle.load(changed)
    empty = tmp_path / "empty.heygem"
    empty.mkdir()
    with pytest.raises(InputError, match="not a fine-tuned avatar"):
        bundle.load(empty)


def test_an_expired_consent_is_refused(result, tmp_path):
    old = tmp_path / "old.heygem"
    shutil.copytree(result.path, old)
    facts = json.loads((old / "avatar.json").read_text())
    facts["consent"]["until"] = "2020-01-01"
    (old / "avatar.json").write_text(json.dumps(facts))
    with pytest.raises(ConsentError, match="expired"):
        bundle.person(old).bundle.authorize(Ledger(tmp_path / "ledger.db"))


def test_an_avatar_made_for_the_lips_model_of_an_earlier_version_still_speaks(tmp_path):
    earlier = lips.LipsModel.load(lips.WITHOUT_EMBEDDING)
    made_for = sha256(lips.WITHOUT_EMBEDDING)
    shape = (len(earlier.networks), *earlier.networks[0].weights["head.weight"].shape[:2])
    change = Adapter(0.5, np.zeros(shape, np.float32), np.zeros(shape[1], np.float32), 1.0, 0.02)
    save_adapter(change, tmp_path / bundle.ADAPTER, base_sha256=made_for)
    facts = {"files": {bundle.ADAPTER: "0" * 64}, "base_sha256": made_for}
    own = bundle.AvatarBundle(tmp_path, facts).lips(
        lips.LipsModel.load(), base_sha256=sha256(lips.SHIPPED)
    )
    samples = audio.load(root() / "samples" / "speech_en.wav").samples[:16000]
    expected = 0.5 * earlier.predict(samples).coefficients
    np.testing.assert_allclose(own.predict(samples).coefficients, expected, atol=1e-3)
    assert not own.embedding and own.opening_std == 0.02
    # Where the user names another model, the avatar does not fit it, as before.
    with pytest.raises(AssetError, match="made for another lips model"):
        bundle.AvatarBundle(tmp_path, facts).lips(lips.LipsModel.load(), base_sha256="1" * 64)
