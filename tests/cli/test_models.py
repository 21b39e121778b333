"""`heygem models`."""

from heygem.core import assets


def test_models_commands(heygem):
    code, out, _ = heygem("models", "list")
    assert code == 0
    for asset in assets.PULLED:
        assert asset.name in out and asset.sha256 in out
    assert "Apache-2.0" in out and "missing" not in out
    assert heygem("models", "verify")[0] == 0
    code, out, _ = heygem("models", "pull")
    assert code == 0 and out.startswith("0 fetched")
