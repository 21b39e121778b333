"""What an avatar bundle gives to an avatar, as far as this package and rendering need it."""

from collections.abc import Mapping
from typing import Any, Protocol

from heygem.lips.model import LipsModel


class Bundle(Protocol):
    """Results of fine-tuning for one person; implemented by `heygem.finetune.bundle.AvatarBundle`.

    Attributes
    ----------
    sha256 : str
        Hash of everything in the bundle.
    sources : mapping of str to str
        Further inputs of a result, by name: their sha256.
    """

    @property
    def sha256(self) -> str: ...

    @property
    def sources(self) -> Mapping[str, str]: ...

    def lips(self, base: LipsModel, *, base_sha256: str) -> LipsModel:
        """The person's own lips model, or `base` where the bundle has none.

        Raises
        ------
        AssetError
            The bundle was made for another base model.
        """

    def authorize(self, ledger: Any) -> str:
        """Check that the consent stated in the bundle still holds; returns its basis.

        Raises
        ------
        ConsentError
        """

    def summary(self) -> dict[str, Any]:
        """Facts for the manifest of a result."""
