"""What pyproject.toml cannot say: a build leaves out what the capabilities switch off."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from heygem.config import capabilities  # noqa: E402


class BuildPy(build_py):
    """Removes after copying, because an earlier build may have left things in the same folder."""

    def run(self):
        super().run()
        if self.editable_mode:  # a checkout's own files are never touched
            return
        built, switches = Path(self.build_lib), capabilities.read()
        for path in sorted(built.rglob("*"), reverse=True):  # what a folder holds, then the folder
            if capabilities.left_out(path.relative_to(built).as_posix(), switches):
                path.rmdir() if path.is_dir() else path.unlink()


class EggInfo(egg_info):
    """The list of sources, from which the source archive is made."""

    def find_sources(self):
        super().find_sources()
        switches = capabilities.read()
        names = [
            name
            for name in self.filelist.files
            if not capabilities.left_out(Path(name).as_posix(), switches)
        ]
        self.filelist.files = names
        text = "".join(f"{Path(name).as_posix()}\n" for name in names)
        Path(self.egg_info, "SOURCES.txt").write_text(text, encoding="utf-8")


setup(cmdclass={"build_py": BuildPy, "egg_info": EggInfo})
