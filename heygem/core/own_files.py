"""Files that heygem writes into a folder of the user's choice, and a list by which it knows them.

The list, a hidden file in the folder, holds the sha256 of every file that was written there. A file
is replaced by a later one of its name if it is in the list and unchanged; any other is the user's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heygem.core import publish
from heygem.core.files import read_json, sha256, write_json
from heygem.core.types import PathLike

LIST = ".heygem-files.json"


class OwnFiles:
    """The files of heygem in a folder.

    Parameters
    ----------
    folder : path
        Made when the first file is written.
    overwrite : bool
        Whether files that are not in the list may be replaced too.
    way_out : str
        As of `publish.check`.
    """

    def __init__(
        self, folder: PathLike, *, overwrite: bool = False, way_out: str = publish.BY_HAND
    ) -> None:
        self.folder = Path(folder)
        self._overwrite = overwrite
        self._way_out = way_out

    def check(self, *names: str) -> None:
        """Refuse names under which files of the user stand; call it before any work.

        Raises
        ------
        OutputError
        """
        for name in names:
            target = self.folder / name
            publish.check(target, may_replace=self.may_replace, way_out=self._way_out)

    def may_replace(self, path: Path) -> bool:
        """Whether a file is heygem's and unchanged, or may go anyway."""
        hashes = self._hashes().get(path.name, [])
        return self._overwrite or any(publish.has_hash(path, digest) for digest in hashes)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A hidden path, with the suffix of `name`, whose file takes that name at the end.

        Raises
        ------
        OutputError
            A file of the user has the name, or the file cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / name
        with publish.publishing(
            target, may_replace=self.may_replace, way_out=self._way_out
        ) as staged:
            yield staged
            self._add(name, sha256(staged))

    def _hashes(self) -> dict[str, list[str]]:
        files = (read_json(self.folder, name=LIST) or {}).get("files")
        return files if isinstance(files, dict) else {}

    def _add(self, name: str, digest: str) -> None:
        """Enter a file before it takes its name: after a crash in between, both are known."""
        hashes = self._hashes()
        target = self.folder / name
        present = [each for each in hashes.get(name, []) if publish.has_hash(target, each)]
        hashes[name] = [*present, digest]
        write_json(self.folder, {"files": hashes}, name=LIST)
