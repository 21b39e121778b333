"""What the writing of a bundle does to the user's own files: nothing."""

import os
import shutil
import stat

import pytest
from helpers.finetune import QUICK

from heygem.core.errors import InputError, OutputError
from heygem.core.files import sha256
from heygem.finetune import bundle
from heygem.finetune.consent import Statement
from heygem.finetune.run import finetune

pytestmark = pytest.mark.slow
OWN = Statement("own")


@pytest.fixture
def private_footage(footage, tmp_path):
    """A copy of the sample video that only its owner may read."""
    path = tmp_path / "private.mp4"
    shutil.copyfile(footage[0], path)
    path.chmod(0o600)
    return path


def state(path):
    facts = path.lstat()
    return facts.st_ino, facts.st_nlink, facts.st_mode, facts.st_size, facts.st_mtime_ns


@pytest.mark.fault
def test_footage_is_copied_and_its_mode_is_not_touched(own_home, private_footage, tmp_path):
    before = state(private_footage)
    out = finetune([private_footage], tmp_path / "a.heygem", QUICK, consent=OWN).path
    assert state(private_footage) == before
    (shown,) = out.glob("shown.*")
    assert not os.path.samefile(shown, private_footage)
    assert sha256(shown) == sha256(private_footage)
    for path in (out, *out.iterdir()):  # what is made from it is as private as it is
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
    bundle.load(out)


@pytest.mark.fault
def test_footage_behind_a_link_is_copied_into_the_folder(own_home, footage, tmp_path):
    original = tmp_path / "elsewhere.mp4"
    shutil.copyfile(footage[0], original)
    original.chmod(0o644)
    link = tmp_path / "link.mp4"
    link.symlink_to(original)
    out = finetune([link], tmp_path / "a.heygem", QUICK, consent=OWN).path
    assert not any(path.is_symlink() for path in out.iterdir())
    assert stat.S_IMODE((out / "avatar.json").stat().st_mode) & 0o004
    moved = out.rename(tmp_path / "moved.heygem")
    original.unlink()
    bundle.load(moved)


@pytest.mark.fault
def test_a_folder_with_the_users_own_files_is_never_replaced(result, footage, tmp_path):
    mine = tmp_path / "mine.heygem"
    shutil.copytree(result.path, mine)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        finetune(footage, mine, QUICK, consent=OWN)
    assert (mine / "notes.txt").read_text() == "mine"
    link = tmp_path / "link.heygem"
    link.symlink_to(result.path)
    with pytest.raises(OutputError, match="choose another name"):
        finetune(footage, link, QUICK, consent=OWN)
    copy = tmp_path / "copy.heygem"
    shutil.copytree(result.path, copy)
    with pytest.raises(InputError, match="would be replaced"):
        finetune([next(copy.glob("shown.*"))], copy, QUICK, consent=OWN)
    assert link.is_symlink() and bundle.is_own(copy)


@pytest.mark.fault
def test_a_bundle_that_names_files_outside_it_is_refused(result, tmp_path):
    forged = tmp_path / "forged.heygem"
    shutil.copytree(result.path, forged)
    text = (forged / "avatar.json").read_text()
    (forged / "avatar.json").write_text(text.replace('"shown.mp4"', '"../shown.mp4"'))
    (tmp_path / "shown.mp4").write_bytes((forged / "shown.mp4").read_bytes())
    with pytest.raises(InputError, match="names a file outside"):
        bundle.load(forged)
