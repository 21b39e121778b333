"""Films that heygem makes beside its results: previews, comparisons, evaluations; all labelled."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from heygem import __version__, media
from heygem.config.params import LabelSettings
from heygem.core import disk
from heygem.core.publish import publishing
from heygem.core.types import FloatArray, Image, PathLike
from heygem.media.yuv import YuvImage
from heygem.provenance import keys as key_store
from heygem.provenance.keys import Keys
from heygem.provenance.labeller import Labeller, ShowFrame
from heygem.provenance.ledger import Ledger
from heygem.provenance.results import is_result
from heygem.provenance.visible import Box


def write_film(
    out: PathLike,
    frames: Iterable[tuple[Image | YuvImage, float]],
    *,
    size: tuple[int, int],
    rate: float,
    settings: LabelSettings,
    parent: PathLike,
    facts: dict[str, Any],
    keep_clear: Sequence[Box] | FloatArray | None = None,
    sound: tuple[FloatArray, int] | None = None,
    keys: Keys | None = None,
    show_frame: ShowFrame | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write a film with all label layers and a row in the ledger, whole or not at all.

    Parameters
    ----------
    out : path
        `.mp4`
    frames : iterable of (uint8 [H, W, 3] or YuvImage, float)
        Images and their times in seconds.
    size : tuple of int
        Width and height of the frames, pixels.
    rate : float
        Frames per second.
    settings : LabelSettings
    parent : path
        The recording that the film shows.
    facts : dict
        For the ledger: what the film is, and what it was made from.
    keep_clear, show_frame, sound : optional
        As for `heygem.provenance.Labeller` and its `finalize`; by default the sound is that of
        `audio`, where it is in memory.
    keys : Keys, optional
        Default: this installation's.
    **options
        As for `heygem.media.VideoWriter`.

    Returns
    -------
    dict
        State of the label's layers, as from `Labeller.finalize`.

    Raises
    ------
    OutputError
        The film cannot be written, a layer is missing when it is read back, or a file stands under
        its name that is not an earlier film or result of this installation.
    """
    out = Path(out)
    audio = options.get("audio")
    if sound is None and isinstance(audio, media.AudioTrack):
        sound = audio.samples.mean(1), audio.rate_hz  # or the film would be opened and decoded
    own_keys = keys if keys is not None else key_store.ensure()
    labeller = Labeller(
        settings, *size, keys=own_keys, keep_clear=keep_clear, show_frame=show_frame
    )
    ledger = Ledger(keys=own_keys)
    facts = {"params": {"label": settings.model_dump(mode="json")}, **facts}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk.write_error(error, out) from error
    with publishing(out, inputs=[parent], may_replace=partial(is_result, ledger)) as staged:
        with labeller.recorded_run(ledger, title=out.name, facts=facts):
            with media.VideoWriter(
                staged,
                label=labeller,
                width=size[0],
                height=size[1],
                rate=rate,
                shown_name=out.name,
                **options,
            ) as writer:
                for image, time_s in frames:
                    writer.write(image, time_s)
            label = labeller.finalize(
                staged,
                ledger=ledger,
                parent=parent,
                title=out.name,
                sound=sound,
                facts=facts,
                version=__version__,
            )
    return label
