"""What is switched off is not in what is built."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from heygem.config import capabilities
from heygem.core.errors import HeygemError, InputError
from heygem.provenance import sbom

ROOT = Path(__file__).parents[2]
BUILD = """
import sys
from setuptools import build_meta
out = sys.argv[1]  # setuptools rewrites the arguments
build_meta.build_wheel(out)
build_meta.build_sdist(out)
"""


@pytest.fixture
def switched_off(monkeypatch):
    monkeypatch.setattr(capabilities, "read", lambda: {"finetune": False})


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A small project of the same make: its own build files, and a few files of each part."""
    here = tmp_path_factory.mktemp("checkout")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "NOTICE", "README.md",
                 "heygem/__init__.py", "heygem/core/__init__.py", "heygem/core/errors.py",
                 "heygem/config/__init__.py", "heygem/config/capabilities.py",
                 "heygem/config/capabilities.yaml"):  # fmt: skip
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes((ROOT / name).read_bytes())
    for name in (
        "heygem/finetune/__init__.py",
        "heygem/finetune/deeper/__init__.py",
        "heygem/finetune/deeper/step.py",
        "heygem/studio/__init__.py",
        "heygem/studio/consent_form.py",
        "heygem/studio/pages/__init__.py",
        "heygem/studio/pages/finetune.py",
        "notebooks/03_finetune.ipynb",
        "notebooks/10_generate.ipynb",
        "notebooks/12_finetune.ipynb",
        "tests/finetune/test_finetune.py",
        "tests/media/test_media.py",
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("")
    return here


def build(checkout, out, *, finetune):
    """Names in the wheel and in the source archive, the latter without the first folder."""
    (checkout / "heygem/config/capabilities.yaml").write_text(
        f"finetune: {str(finetune).lower()}\n"
    )
    out.mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=checkout, check=True, capture_output=True
    )
    (wheel,), (archive,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        source = {name.partition("/")[2] for name in files.getnames()}
        listed = files.extractfile("heygem-0.1.0/heygem.egg-info/SOURCES.txt").read().decode()
    return wheel, set(zipfile.ZipFile(wheel).namelist()), source, listed


@pytest.mark.slow
def test_a_reduced_build_holds_nothing_of_it_even_after_a_full_one(checkout, tmp_path):
    _, wheel, source, _ = build(checkout, tmp_path / "full", finetune=True)
    assert {"heygem/finetune/deeper/step.py", "heygem/studio/pages/finetune.py"} <= wheel
    assert {"notebooks/03_finetune.ipynb", "notebooks/12_finetune.ipynb"} <= source

    built, wheel, source, listed = build(checkout, tmp_path / "reduced", finetune=False)
    assert not {n for n in wheel | source if re.search("finetune|consent_form", n)}
    assert "finetune" not in listed
    assert {"heygem/config/capabilities.py", "heygem/studio/__init__.py"} <= wheel
    assert {"notebooks/10_generate.ipynb", "tests/media/test_media.py"} <= source
    assert (checkout / "heygem/finetune/deeper/step.py").is_file()  # only copies are cut

    # And from the wheel itself, installed where nothing else of heygem is.
    place = tmp_path / "installed"
    zipfile.ZipFile(built).extractall(place)
    code = "import heygem.config.capabilities as c; print(c.__file__, c.enabled('finetune'))"
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert output == [str(place / "heygem/config/capabilities.py"), "False"]


@pytest.mark.slow
def test_the_command_line_starts_without_it():
    """The command line starts where the parts are not there, without the command."""
    code = (
        "import sys\n"
        "from heygem.config import capabilities\n"
        "capabilities.read = lambda: {'finetune': False}\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if capabilities.left_out(name.replace('.', '/') + '.py', capabilities.read()):\n"
        "            raise ModuleNotFoundError('left out: ' + name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "import heygem.cli.main\n"
        "assert 'finetune' not in [c.name or c.callback.__name__\n"
        "                          for c in heygem.cli.main.app.registered_commands]\n"
        "try:\n"
        "    import heygem.finetune.adapt\n"
        "except ModuleNotFoundError:\n"
        "    print('as left out')\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert process.stdout == "as left out\n", process.stderr


def test_what_was_left_out_is_refused_in_one_line(switched_off):
    assert not capabilities.enabled("finetune")
    with pytest.raises(InputError, match="without fine-tuning.*anna.heygem") as refused:
        capabilities.require("finetune", seen="anna.heygem")
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_its_notebooks_are_refused_and_the_inventory_says_it(switched_off):
    with pytest.raises(InputError, match="without fine-tuning.*12_finetune"):
        capabilities.require_path("notebooks/12_finetune.ipynb")
    capabilities.require_path("notebooks/10_generate.ipynb")
    (row,) = [item for item in sbom.collect() if item.name == "finetune"]
    assert row.removable and "capabilities.finetune: off" in row.function
    assert "capabilities.finetune: off" in sbom.report([row])


def test_switched_on_without_its_code_it_is_off(monkeypatch, tmp_path):
    monkeypatch.setattr(capabilities, "read", lambda: {"finetune": True})
    monkeypatch.setattr(capabilities, "__file__", str(tmp_path / "heygem/config/capabilities.py"))
    assert not capabilities.enabled("finetune")


@pytest.mark.parametrize(
    "text",
    ["", "finetune: maybe\n", "finetune: 1\n", "fintune: false\n", "finetune: [\n",
     "finetune: true\nflying: true\n"],
)  # fmt: skip
def test_a_broken_list_switches_nothing_on(tmp_path, text):
    path = tmp_path / "capabilities.yaml"
    path.write_text(text)
    with pytest.raises(HeygemError):
        capabilities.read(path)
