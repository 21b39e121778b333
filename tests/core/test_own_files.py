"""Files in a folder of the user: heygem replaces those it wrote, and no others."""

import pytest

from heygem.core.errors import OutputError
from heygem.core.own_files import LIST, OwnFiles


def write(folder, text, **more):
    with OwnFiles(folder, **more).writing("table.csv") as staged:
        staged.write_text(text)


def test_an_earlier_file_is_replaced_and_a_changed_one_is_not(tmp_path):
    write(tmp_path / "new", "first")
    write(tmp_path / "new", "second")
    table = tmp_path / "new" / "table.csv"
    assert table.read_text() == "second"
    assert sorted(path.name for path in table.parent.iterdir()) == [LIST, "table.csv"]
    table.write_text("second, corrected by hand")
    with pytest.raises(OutputError, match=r"table\.csv is there already.*move it away"):
        write(table.parent, "third")
    assert table.read_text() == "second, corrected by hand"
    write(table.parent, "third", overwrite=True)
    assert table.read_text() == "third"


@pytest.mark.fault
def test_a_users_file_is_named_before_any_work(tmp_path):
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(OutputError, match="table-2"):
        OwnFiles(tmp_path).check("figure.png", "table.csv")
    OwnFiles(tmp_path, overwrite=True).check("figure.png", "table.csv")


@pytest.mark.fault
def test_a_crash_before_the_file_has_its_name_loses_no_knowledge(tmp_path, monkeypatch):
    write(tmp_path, "first")
    with monkeypatch.context() as patch:
        patch.setattr("heygem.core.publish.place", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(tmp_path, "second")
    assert (tmp_path / "table.csv").read_text() == "first"
    write(tmp_path, "third")
    assert (tmp_path / "table.csv").read_text() == "third"


@pytest.mark.fault
def test_a_damaged_list_protects_every_file(tmp_path):
    write(tmp_path, "first")
    (tmp_path / LIST).write_text('{"files": ')
    with pytest.raises(OutputError):
        write(tmp_path, "second")
    assert (tmp_path / "table.csv").read_text() == "first"
