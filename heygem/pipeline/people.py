"""A person by path: a video, a portrait, or an avatar bundle made by fine-tuning."""

from heygem import avatar, media
from heygem.avatar import Avatar
from heygem.config import capabilities
from heygem.config.params import FaceSettings, Params
from heygem.core.types import PathLike, Progress
from heygem.face.tracking import Backend


def load_person(
    path: PathLike,
    settings: FaceSettings,
    *,
    backend: Backend | None = None,
    progress: Progress | None = None,
    sha256: str | None = None,
) -> Avatar:
    """Load a person: an avatar bundle as it is, anything else tracked or taken from the cache.

    Parameters
    ----------
    path : path
        Video, still portrait, or the `.heygem` folder of a fine-tuned avatar.
    settings : FaceSettings
    backend : heygem.face.tracking.Backend, optional
        Default: the one `settings` names.
    progress : callable, optional
        `progress("track", frames_done, frames_total)`.
    sha256 : str, optional
        Hash of a video's content, where the caller has just computed it.

    Raises
    ------
    InputError, NoFaceError
    """
    if media.is_avatar_bundle(path):
        capabilities.require("finetune", seen=path)
        from heygem.finetune import bundle

        return bundle.person(path)
    return avatar.load(path, settings, backend=backend, progress=progress, sha256=sha256)


def load_avatar(
    path: PathLike,
    params: Params | None = None,
    *,
    progress: Progress | None = None,
) -> Avatar:
    """Load a person with default settings, or those of `params`; see `load_person`."""
    return load_person(path, (params or Params()).face, progress=progress)
