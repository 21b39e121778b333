"""What can be known before a video is made: its name, folder and format, and the label's files."""

from collections.abc import Iterable
from pathlib import Path

from heygem import media
from heygem.config.params import LabelSettings, MediaSettings, Params, ResourceSettings
from heygem.core import publish
from heygem.core.errors import LimitError
from heygem.core.publish import MayReplace
from heygem.core.types import PathLike
from heygem.media.encoders import choose_encoder
from heygem.provenance.ledger import Ledger
from heygem.provenance.results import is_result
from heygem.provenance.visible import VisibleLabel

_COMMON_SIZE = (1920, 1080)  # pixels, of a video that is not known yet


def check_result(out: Path, *, inputs: Iterable[PathLike], may_replace: MayReplace) -> None:
    """Refuse a result's name that is taken, has no known format, or lies in an unusable folder.

    Raises
    ------
    OutputError
    """
    media.container_format(out)
    publish.check(out, inputs=inputs, may_replace=may_replace)
    publish.check_folder(out.parent)


def check_label(settings: LabelSettings, video: PathLike | None = None) -> None:
    """Refuse a label that cannot be drawn: its font, its logo, and its length on this video.

    Raises
    ------
    AssetError, InputError, ParameterError
    """
    width, height = _COMMON_SIZE
    if video is not None:
        picture = media.probe(video).video
        if picture is None:  # a person cannot be loaded from it, which has its own message
            return
        width, height = picture.width, picture.height
    VisibleLabel(settings, width, height)


def check_encoder(settings: MediaSettings) -> None:
    """Refuse an encoder that was asked for and is not here, before anything is computed.

    Raises
    ------
    ParameterError
    """
    width, height = _COMMON_SIZE
    choose_encoder(settings.encoder, device="cpu", width=width, height=height)


def check_limits(limits: ResourceSettings, video: PathLike, duration_s: float) -> None:
    """Refuse a speech that is longer, or a video that is larger, than the settings allow.

    Parameters
    ----------
    limits : ResourceSettings
    video : path
    duration_s : float
        Of the speech.

    Raises
    ------
    LimitError
    InputError
        The video cannot be read.
    """
    if duration_s > 60 * limits.max_minutes:
        raise LimitError(
            f"the speech for {Path(video).name} is longer than the limit",
            seen=f"{duration_s / 60:.1f} of at most {limits.max_minutes:g} minutes",
            remedy="split it, or raise resources.max_minutes",
        )
    picture = media.probe(video).video
    if picture is not None and picture.width * picture.height > 1e6 * limits.max_megapixels:
        megapixels = picture.width * picture.height / 1e6
        raise LimitError(
            f"the picture of {Path(video).name} is larger than the limit",
            seen=f"{picture.width}x{picture.height}, {megapixels:.1f} of at most "
            f"{limits.max_megapixels:g} million pixels",
            remedy="scale the video down, or raise resources.max_megapixels",
        )


def input_files(params: Params, *more: PathLike) -> list[PathLike]:
    """Every file that making a video reads; none of them may be replaced by it."""
    named = (
        *more,
        params.inputs.audio,
        *params.inputs.videos,
        params.inputs.pairs if isinstance(params.inputs.pairs, str) else None,
        params.label.logo,
        params.label.font,
        params.lips.model,
        params.checkpoint,
    )
    return [path for path in named if path is not None]


def replaces_results(ledger: Ledger, params: Params) -> MayReplace:
    """Whether a file may be replaced: the ledger knows it as a result, or the user has said so."""

    def may_replace(path: Path) -> bool:
        return params.inputs.overwrite or is_result(ledger, path)

    return may_replace
