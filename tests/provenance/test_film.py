"""Films beside results: labelled, recorded, and never in place of a file of the user."""

import numpy as np
import pytest
from helpers.labelled import HEIGHT, RATE, WIDTH, make_frame

from heygem import media
from heygem.config.params import LabelSettings
from heygem.core.errors import OutputError
from heygem.provenance import keys
from heygem.provenance.film import write_film
from heygem.provenance.ledger import Ledger


@pytest.fixture
def film(installation, tmp_path, monkeypatch):
    """Write a short film to a name in the test's folder."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))

    def write(name="film.mp4", parent=installation.source, **options):
        frames = ((make_frame(k), k / RATE) for k in range(3))
        write_film(
            tmp_path / name, frames, size=(WIDTH, HEIGHT), rate=RATE, settings=LabelSettings(),
            parent=parent, facts={}, preset="ultrafast", **options,
        )  # fmt: skip
        return tmp_path / name

    return write


@pytest.mark.fault
@pytest.mark.slow
def test_a_film_replaces_an_earlier_film_and_nothing_else(film, installation, tmp_path):
    out = film()
    first = out.read_bytes()
    assert film() == out and out.read_bytes() != first
    out.write_bytes(b"holiday")
    with pytest.raises(OutputError, match="is there already"):
        film()
    assert out.read_bytes() == b"holiday"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".heygem-")]


@pytest.mark.fault
def test_a_film_never_replaces_what_it_shows(film):
    source = film("source.mp4")
    before = source.read_bytes()
    with pytest.raises(OutputError, match="would replace an input"):
        film("source.mp4", parent=source)
    assert source.read_bytes() == before


def test_the_sound_in_memory_is_the_film_s_fingerprint(film, monkeypatch):
    """The film was opened five times and its sound decoded, in the wait for a preview."""
    monkeypatch.setattr(media, "read_audio", lambda path: pytest.fail("decoded"))
    rng = np.random.default_rng(0)
    track = media.AudioTrack(rng.uniform(-0.3, 0.3, (24_000, 2)).astype(np.float32), 24_000)
    film(audio=track)
    assert Ledger(keys=keys.ensure()).entries()[-1].body["fingerprint"]["sound"]
