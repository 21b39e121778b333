"""What is wrong before any work is said before any work; a user's file is never the price."""

import os

import numpy as np
import pytest
from helpers.home import home_with_models
from helpers.media import tone, write_wav
from PIL import Image

from heygem import media, pipeline
from heygem.config.params import LabelSettings, Params
from heygem.core.errors import AssetError, HeygemError, InputError, OutputError, ParameterError
from heygem.core.files import sha256
from heygem.pipeline import preflight
from heygem.provenance.ledger import Ledger


class Untouched:
    """Stands for the models; anything asked of it is work."""

    def __getattr__(self, name):
        raise AssertionError(f"work began: models.{name}")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(home_with_models(tmp_path / "home")))
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))


@pytest.fixture
def refused(hopper_still, tmp_path):
    """Call `generate` and return the error, which must come before any work."""
    sound = write_wav(tmp_path / "voice.wav", tone().samples)

    def call(out="out.mp4", video=hopper_still, **sections):
        with pytest.raises(HeygemError) as caught:
            pipeline.generate(
                video, sound, tmp_path / out, Params.from_dict(sections), models=Untouched()
            )
        return caught.value

    return call


@pytest.mark.fault
@pytest.mark.slow
def test_files_of_the_label_are_opened_first(refused, tmp_path):
    (tmp_path / "logo.png").write_bytes(b"no picture")
    (tmp_path / "font.ttf").write_bytes(b"no font")
    error = refused(label={"logo": str(tmp_path / "logo.png")})
    assert isinstance(error, InputError) and "logo cannot be read" in str(error)
    error = refused(label={"font": str(tmp_path / "font.ttf")})
    assert isinstance(error, AssetError) and "font cannot be opened" in str(error)


@pytest.mark.fault
def test_a_label_too_long_for_the_picture_is_refused_first(refused):
    error = refused(label={"text": "AI生成" * 12, "height": 0.2})
    assert isinstance(error, ParameterError) and "does not fit" in str(error)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("a.gif", "ending '.gif'"),
        ("folder.mp4", "a folder has this name"),
        ("none/a.mp4", "the folder is not there"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_first(refused, tmp_path, out, words):
    (tmp_path / "folder.mp4").mkdir()
    error = refused(out)
    assert isinstance(error, OutputError) and words in str(error)


@pytest.mark.fault
def test_a_missing_encoder_is_refused_first(refused, monkeypatch):
    monkeypatch.setattr("av.codecs_available", {"mpeg4"})
    assert "cannot write H.264" in str(refused())


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_no_name_for_a_result(refused, talking, tmp_path, overwrite):
    copy = tmp_path / "anna.mp4"
    copy.write_bytes(talking[0].read_bytes())
    os.link(copy, tmp_path / "link.mp4")
    for name in ("anna.mp4", "link.mp4"):
        error = refused(name, video=copy, inputs={"overwrite": overwrite})
        assert "would replace an input" in str(error)
    assert copy.read_bytes() == talking[0].read_bytes()


@pytest.mark.fault
def test_a_users_file_is_refused_and_a_result_in_the_ledger_is_not(refused, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"holiday")
    assert "--overwrite" in str(refused())
    may_replace = preflight.replaces_results(Ledger(), Params())
    assert not may_replace(out)
    Ledger().append("made", sha256(out), {})
    assert may_replace(out)
    out.write_bytes(b"cut by hand")
    assert not may_replace(out)


@pytest.mark.slow
@pytest.mark.fault
def test_a_result_is_replaced_by_the_next_one(hopper_still, faces, tmp_path):
    sound = write_wav(tmp_path / "voice.wav", tone(0.4).samples)
    params = Params.from_dict({"media": {"preset": "ultrafast"}, "device": "cpu"})
    models = pipeline.Models(params, faces=faces)
    out = tmp_path / "out.mp4"
    first = pipeline.generate(hopper_still, sound, out, params, models=models)
    second = pipeline.generate(hopper_still, sound, out, params, models=models)
    assert first.path == second.path and media.probe(out).duration_s > 0.3
    out.write_bytes(b"holiday")
    with pytest.raises(OutputError, match="not a result"):
        pipeline.generate(hopper_still, sound, out, params, models=models)
    assert out.read_bytes() == b"holiday"


@pytest.mark.fault
@pytest.mark.parametrize("key", ["logo", "font"])
def test_a_pipe_is_no_logo_and_no_font(tmp_path, key):
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: reading would wait for ever
    settings = LabelSettings.model_validate({key: str(tmp_path / "pipe")})
    with pytest.raises(InputError, match="is a pipe"):
        preflight.check_label(settings)


@pytest.mark.fault
def test_a_logo_that_breaks_off_is_refused(tmp_path):
    logo = tmp_path / "logo.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(logo)
    logo.write_bytes(logo.read_bytes()[:3000])
    with pytest.raises(InputError, match="the label's logo cannot be read"):
        preflight.check_label(LabelSettings(logo=str(logo)))
