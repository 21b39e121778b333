"""Films beside results have all labels and a row; one that fails leaves no file."""

import pytest
from helpers.labelled import HEIGHT, RATE, WIDTH, make_frame

from heygem.config.params import LabelSettings
from heygem.core.errors import OutputError
from heygem.core.files import hash_input
from heygem.provenance import containers, keys
from heygem.provenance.film import write_film
from heygem.provenance.ledger import Ledger


@pytest.fixture
def own_keys(tmp_path):
    """Keys of another ledger than the session's: the newest row's number is stored with them."""
    return keys.init(tmp_path / "records" / "keys")


@pytest.fixture
def write(installation, own_keys, tmp_path, monkeypatch):
    """Write a film of `count` frames into `tmp_path/films`; `stop` raises after some of them."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))

    def frames(count, stop):
        for k in range(count):
            if k == stop:
                raise RuntimeError("the renderer failed")
            yield make_frame(k), k / RATE

    def write(count=10, stop=None, name="film.mp4"):
        return write_film(
            tmp_path / "films" / name,
            frames(count, stop),
            size=(WIDTH, HEIGHT),
            rate=RATE,
            settings=LabelSettings(),
            parent=installation.source,
            facts={"comparison": ["a"]},
            keys=own_keys,
            preset="ultrafast",
        )

    return write


@pytest.mark.slow
def test_a_film_is_labelled_and_recorded(write, own_keys, tmp_path):
    label = write()
    film = tmp_path / "films" / "film.mp4"
    assert len(containers.read_tags(film)) == 1
    (row,) = Ledger(keys=own_keys).entries(kind="made")
    assert (row.subject, row.number) == (hash_input(film), label["ledger_row"])
    assert row.body["comparison"] == ["a"] and row.body["label_text"] == "AI生成"


@pytest.mark.fault
@pytest.mark.slow
def test_a_film_that_fails_leaves_no_file_and_a_row_that_says_so(write, own_keys, tmp_path):
    write()
    before = (tmp_path / "films" / "film.mp4").read_bytes()
    with pytest.raises(RuntimeError, match="renderer failed"):
        write(stop=5)
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["film.mp4"]
    assert (tmp_path / "films" / "film.mp4").read_bytes() == before
    assert "renderer failed" in str(Ledger(keys=own_keys).entries()[-1].body)


@pytest.mark.fault
def test_a_folder_that_cannot_be_made_is_one_clear_line(write, tmp_path):
    (tmp_path / "films").write_text("a file")
    with pytest.raises(OutputError, match="film.mp4") as caught:
        write()
    assert "\n" not in str(caught.value)
