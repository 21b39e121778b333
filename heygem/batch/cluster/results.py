"""One item's files at their final location, written by the node that made them.

The order is that of one machine: a manifest with the status "begun" marks the folder of details as
heygem's; figures and the video follow; the manifest with the status "done" is last. After a kill at
any point there is either no video, or a whole one that the manifest or the ledger knows.
"""

from pathlib import Path
from typing import Any

from heygem.batch.cluster.storage import Folder, join
from heygem.batch.item import manifest
from heygem.batch.item.begun_mark import MANIFEST, is_begun
from heygem.batch.items import DETAILS, Item
from heygem.core.errors import OutputError
from heygem.core.files import read_json, write_json
from heygem.provenance.ledger import Ledger
from heygem.provenance.ledger.check import MADE


class ItemResults:
    """Where an item's video, manifest and figures go.

    Parameters
    ----------
    location : str
        The folder of results.
    name : str
        Of the video, with suffix.
    ledger : Ledger
        Knows results whose manifest was never written, because their node died.
    overwrite : bool
        Whether files that heygem did not make may be replaced (`inputs.overwrite`).
    """

    def __init__(self, location: str, name: str, ledger: Ledger, *, overwrite: bool) -> None:
        self.folder = Folder(location)
        self.name = name
        self._details = _details_of(name)
        self._manifest = join(self._details, MANIFEST)
        self._ledger = ledger
        self._overwrite = overwrite

    @property
    def address(self) -> str:
        """Location of the video."""
        return self.folder.address(self.name)

    @property
    def details_address(self) -> str:
        """Location of the folder of manifest and figures."""
        return self.folder.address(self._details)

    def finished(self, item_id: str) -> dict[str, Any] | None:
        """The manifest, where this item (see `manifest.item_id`) was made and is unchanged."""
        content = self.folder.read_json(self._manifest)
        if not content or (content.get("id"), content.get("status")) != (item_id, "done"):
            return None
        return content if self._is_recorded(content) else None

    def check(self) -> None:
        """Refuse, before any work, names that are taken by files that heygem did not make.

        Raises
        ------
        OutputError
        """
        self.folder.require_replaceable(self.name, self._may_replace_video)
        content = self.folder.read_json(self._manifest)
        if content is None and self.folder.exists(self._manifest) or not self._is_ours(content):
            raise OutputError(
                f"the folder for the manifest of {Path(self.name).stem} holds files that heygem "
                "did not make",
                seen=self.details_address,
                remedy="use another name or folder; or replace them with --overwrite "
                "(inputs.overwrite: true)",
            )

    def begin(self, item: Item) -> None:
        """Mark the folder of details as heygem's; `item` has the local manifest that says so."""
        if self.folder.read_json(self._manifest) is None:
            self.folder.put(item.details / MANIFEST, self._manifest)

    def abandon(self) -> None:
        """Remove the mark of an item that was not made."""
        remove_mark(self.folder, self.name)

    def commit(self, item: Item) -> dict[str, Any]:
        """Upload a finished item; returns its manifest as stored.

        Parameters
        ----------
        item : Item
            As made on this node, with its files in local folders.
        """
        content = read_json(item.details) or {}
        for path in sorted(item.details.iterdir()):
            if path.name != MANIFEST and path.name[0] != ".":
                self.folder.put(path, join(self._details, path.name))
        self.folder.put(item.output, self.name, may_replace=self._may_replace_video)
        content["stored"] = {"location": self.address, "state": self.folder.state(self.name)}
        write_json(item.details, content, name=MANIFEST, mode=0o600)
        self.folder.put(item.details / MANIFEST, self._manifest)
        return content

    def _is_ours(self, content: dict[str, Any] | None) -> bool:
        return content is None or self._overwrite or manifest.is_manifest(content)

    def _is_recorded(self, content: dict[str, Any] | None) -> bool:
        """Whether a manifest says that the video is its result, unchanged since.

        The store's own state proves that; without it the video is read.
        """
        if content is None or not self.folder.exists(self.name):
            return False
        stored = content.get("stored") or {}
        if not self.folder.is_local and stored.get("state") == self.folder.state(self.name):
            return True
        recorded = (content.get("output") or {}).get("sha256")
        return recorded is not None and self.folder.sha256(self.name) == recorded

    def _may_replace_video(self, _name: str) -> bool:
        if self._overwrite or self._is_recorded(self.folder.read_json(self._manifest)):
            return True
        # A node that died after it had uploaded the file, and before the manifest.
        return bool(self._ledger.entries(kind=MADE, subject=self.folder.sha256(self.name)))


def remove_mark(folder: Folder, name: str) -> None:
    """Remove the mark of a begun item from the folder of results.

    Parameters
    ----------
    folder : Folder
    name : str
        Of the video, with suffix.
    """
    mark = join(_details_of(name), MANIFEST)
    if is_begun(folder.read_json(mark)):
        folder.remove(mark)


def _details_of(name: str) -> str:
    return join(DETAILS, Path(name).stem)
