"""All label layers of one result, applied in the only possible order.

Watermark, visible label, encoding, metadata, Content Credentials: each later layer includes the
earlier ones. The metadata is bound to the coded picture and sound, the credentials to every byte.
The ledger gets a row before the first frame, and that of the finished file before the file gets its
final name, so that no result is missing from the record.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heygem import media
from heygem.config.params import LabelSettings
from heygem.core.errors import HeygemError, OutputError
from heygem.core.files import hash_input
from heygem.core.types import FloatArray, Image, PathLike
from heygem.media.yuv import Picture, YuvImage
from heygem.provenance import binding, containers, credentials
from heygem.provenance.aigc import KEY, aigc_tags, parse_label
from heygem.provenance.fingerprint import Fingerprint, FrameHasher, hash_audio
from heygem.provenance.keys import Keys
from heygem.provenance.ledger import Entry, Ledger, current_user
from heygem.provenance.visible import MIN_DURATION_S, Box, VisibleLabel
from heygem.provenance.watermark.detect import MIN_S
from heygem.provenance.watermark.embed import WatermarkEmbedder, new_id

if TYPE_CHECKING:
    from heygem.provenance.torch_label import TorchLabels

WRITTEN = "written"
SWITCHED_OFF = "switched off"
ShowFrame = Callable[[Image | YuvImage, float], object]


class Labeller:
    """Labels one clip.

    Parameters
    ----------
    settings
    width, height
        Size of the frames, pixels.
    keys
    keep_clear
        Face boxes; see `VisibleLabel`.
    continues : optional
        Content number and watermark id of an interrupted run that this one continues.
    show_frame : callable, optional
        Called with each labelled frame and its time [s]; it must neither change nor keep it; see
        `heygem.media.live_picture.LivePicture`.
    device
        A torch device that labels frames in the codec's planes, several at once, see
        `heygem.provenance.torch_label`; "cpu": they are labelled one by one, without PyTorch.

    Attributes
    ----------
    produce_id : str
        The content number, in the metadata and in the ledger.
    watermark_id : int or None
    tags : dict of str to str
        For the container; `finalize` completes the label in the file, and here.
    visible : VisibleLabel
    """

    def __init__(
        self,
        settings: LabelSettings,
        width: int,
        height: int,
        *,
        keys: Keys,
        keep_clear: Sequence[Box] | FloatArray | None = None,
        continues: tuple[str, int | None] | None = None,
        show_frame: ShowFrame | None = None,
        device: str = "cpu",
    ) -> None:
        self._settings = settings
        self._show_frame = show_frame
        self._keys = keys
        self._is_continuation = continues is not None
        self.produce_id = continues[0] if continues is not None else uuid.uuid4().hex
        self.tags = aigc_tags(settings, self.produce_id, reserved=binding.reserve(keys.name))
        self.visible = VisibleLabel(settings, width, height, keep_clear=keep_clear)
        self.watermark_id: int | None = None
        self._watermark: WatermarkEmbedder | None = None
        if settings.watermark:
            self.watermark_id = continues[1] if continues is not None else new_id()
            assert self.watermark_id is not None
            self._watermark = WatermarkEmbedder(
                keys.watermark_secret, self.watermark_id, width, height
            )
        self._device = device
        self._on_device: TorchLabels | None = None
        self._hasher = FrameHasher()
        self._last_s = 0.0
        self._begun: Entry | None = None

    @contextlib.contextmanager
    def recorded_run(
        self, ledger: Ledger, *, title: str, facts: dict[str, Any] | None = None
    ) -> Iterator[None]:
        """Record the run before its first frame, and that it was abandoned if the block fails.

        A process that is killed leaves the first row alone; its content number and watermark id
        then say which run an unfinished file is of. A run that continues it has a row of its
        own with the same two, which names the first one, and ends that.

        Parameters
        ----------
        ledger
        title
            The final name of the file.
        facts
            As for `finalize`.
        """
        body = {"title": title, **(facts or {})}
        earlier = self._interrupted_runs(ledger)
        if earlier:
            body["goes_on_with"] = earlier[-1].number
        self._begun = ledger.begin(self.produce_id, body, watermark_id=self.watermark_id)
        for entry in earlier:
            ledger.abandon(entry, f"interrupted; row {self._begun.number} continues it")
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(HeygemError):  # the first error is the one to report
                ledger.abandon(self._begun, str(error) or type(error).__name__)
            raise

    def _interrupted_runs(self, ledger: Ledger) -> list[Entry]:
        """Rows of the runs without an end that this one continues."""
        if not self._is_continuation:
            return []
        return [entry for entry in ledger.unfinished() if entry.subject == self.produce_id]

    def state(self) -> dict[str, NDArray[Any]]:
        """What a later labeller of the same run needs to continue after the frames so far."""
        parts = {"hasher": self._hasher.state()}
        if self._watermark is not None:
            parts["watermark"] = self._watermark.state()
        state = {"last_s": np.array(self._last_s)}
        for part, values in parts.items():
            state |= {f"{part}.{name}": value for name, value in values.items()}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue where another labeller was, given its `state`: the same labels as in one go."""

        def part(name: str) -> dict[str, NDArray[Any]]:
            prefix = f"{name}."
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self._hasher.restore(part("hasher"))
        if self._watermark is not None:
            self._watermark.restore(part("watermark"))
        self._last_s = float(state["last_s"])

    def label_frame(self, image: Picture, time_s: float) -> Picture:
        """A labelled copy of one frame, uint8 [H, W, 3], RGB, or in the codec's planes.

        Frames come in order of time. A `YuvImage` that is for the encoder alone is labelled itself.
        """
        if isinstance(image, YuvImage):
            image = image if image.is_for_encoder else image.copy()
            if self._watermark is not None:
                self._watermark.embed_in_planes(image, time_s)
            self.visible.draw_in_planes(image, time_s)
        else:
            if self._watermark is not None:
                image = self._watermark.embed(image, time_s)
            image = self.visible.draw(image, time_s)
        self._record(image, time_s)
        return image

    def label_frames(
        self, images: Sequence[Any], times_s: Sequence[float]
    ) -> Sequence[Image | YuvImage]:
        """As `label_frame`, for several frames that follow each other: at once on a device."""
        planes = [image for image in images if isinstance(image, YuvImage)]
        # A visible label alone is a blend of a few pixels: it is not worth the journey.
        if self._device == "cpu" or self._watermark is None or len(planes) < len(images):
            return [self.label_frame(*each) for each in zip(images, times_s, strict=True)]
        if self._on_device is None:
            from heygem.provenance.torch_label import TorchLabels  # loads PyTorch

            self._on_device = TorchLabels(self._watermark, self.visible, self._device)
        labelled = [image if image.is_for_encoder else image.copy() for image in planes]
        self._on_device.label(labelled, times_s)
        for image, time_s in zip(labelled, times_s, strict=True):
            self._record(image, time_s)
        return labelled

    def _record(self, image: Image | YuvImage, time_s: float) -> None:
        """What is kept of each labelled frame, in order, and who else gets to see it."""
        self._hasher.add(image, time_s)
        self._last_s = time_s
        if self._show_frame is not None:
            self._show_frame(image, time_s)

    def finalize(
        self,
        path: PathLike,
        *,
        ledger: Ledger,
        parent: PathLike,
        title: str | None = None,
        sound: tuple[FloatArray, int] | None = None,
        facts: dict[str, Any] | None = None,
        version: str = "0",
    ) -> dict[str, Any]:
        """Finish an encoded file: bind its metadata, sign it, and enter it into the ledger.

        Parameters
        ----------
        path
            The encoded file, with `tags` in it, under its temporary name.
        ledger
        parent
            The source recording.
        title
            The final name of the file, for the ledger alone.
        sound
            The audio, float32 [n], and its rate in Hz, for the fingerprint; by default the file's.
        facts
            Sources and settings of the result: plain values, stored in the ledger.
        version
            Of heygem.

        Returns
        -------
        dict
            Plain values for the run's manifest.

        Raises
        ------
        OutputError
            A layer is missing when read back. The file must then be discarded.
        """
        path = Path(path)
        title = title or path.name
        self._require_tag(path, title)
        self.tags[KEY] = binding.bind(path, self.tags[KEY], self._keys)
        layers = self._write_layers(path, parent, title, version)
        self._require_binding(path, title)
        body = {
            "produce_id": self.produce_id,
            "title": title,
            "user": current_user(),
            "layers": layers,
            "label_text": self._settings.text if self._settings.visible else None,
            "label_box": self.visible.box,
            "input_label": _input_label(parent),
            "fingerprint": self._fingerprint(path, sound).to_dict(),
            **(facts or {}),
        }
        entry = ledger.finish(self._begun, hash_input(path), body, watermark_id=self.watermark_id)
        return {
            "produce_id": self.produce_id,
            "watermark_id": entry.watermark_id or None,
            "layers": layers,
            "notes": [*self.visible.notes, *self._duration_notes(), *self._device_notes()],
            "box": self.visible.box,
            "ledger_row": entry.number,
            "ledger_hash": entry.hash,
        }

    def _fingerprint(self, path: Path, sound: tuple[FloatArray, int] | None) -> Fingerprint:
        if sound is None and media.probe(path).audio is not None:
            track = media.read_audio(path)
            sound = track.samples.mean(1), track.rate_hz
        audio_hashes = hash_audio(*sound) if sound is not None else np.zeros(0, np.uint32)
        return self._hasher.fingerprint(audio_hashes)

    def _write_layers(
        self, path: Path, parent: PathLike, title: str, version: str
    ) -> dict[str, str]:
        """Write the Content Credentials; returns the state of every layer."""
        layers = {
            "visible": self._visible_state(),
            "metadata": WRITTEN,
            "watermark": WRITTEN if self._watermark is not None else SWITCHED_OFF,
            "c2pa": SWITCHED_OFF,
        }
        if self._settings.c2pa and credentials.is_supported(path):
            credentials.sign(
                path, self._keys, parent=parent, title=self.produce_id, version=version
            )
            layers["c2pa"] = WRITTEN
        elif self._settings.c2pa:
            layers["c2pa"] = f"not possible in {path.suffix}"
        return layers

    def _device_notes(self) -> Iterator[str]:
        """Memory of the device that did not suffice."""
        if self._on_device is not None and self._on_device.note is not None:
            yield self._on_device.note

    def _duration_notes(self) -> Iterator[str]:
        """Layers for which the clip is too short."""
        if self.visible.box is not None and self._last_s < MIN_DURATION_S:
            yield f"shorter than the {MIN_DURATION_S:.0f} s for which the label has to be seen"
        if self._watermark is not None and self._last_s < MIN_S:
            yield "too short for the invisible watermark to be detected"

    def _visible_state(self) -> str:
        if self.visible.box is not None:
            seconds = self._settings.seconds
            return WRITTEN if seconds is None else f"{WRITTEN}, for the first {seconds:g} s"
        return (
            f"{SWITCHED_OFF}, asked for by {self._settings.requester}, approved by "
            f"{self._settings.approver}: {self._settings.reason}"
        )

    def _require_binding(self, path: Path, title: str) -> None:
        """Read the finished file back: the label is in it, and signed over this very content."""
        self._require_tag(path, title)
        label, _ = parse_label(self.tags[KEY])
        bound = binding.parse_binding(label.ReservedCode1) if label is not None else None
        content = binding.hash_content(path)
        if label is None or bound is None or bound.content != content:
            raise OutputError(
                f"the metadata label of {title} does not belong to its picture and sound",
                seen=content,
                remedy="make it again; the file was changed while it was finished",
            )

    def _require_tag(self, path: Path, title: str) -> None:
        tags = containers.read_tags(path)
        if tags != [self.tags[KEY]]:
            raise OutputError(
                f"{title} does not carry its metadata label",
                seen=f"{len(tags)} labels, the right one {'not ' * (self.tags[KEY] not in tags)}"
                "among them",
                remedy="write it as .mp4, .mov or .mkv",
            )


def _input_label(parent: PathLike) -> dict[str, Any] | None:
    """The input's own metadata label, as text and parsed; None without one."""
    try:
        texts = containers.read_tags_of_unchanged(parent)
    except (HeygemError, OSError):  # a kind of file without tags
        return None
    if not texts:
        return None
    label, problems = parse_label(texts[0])
    return {"text": texts[0], "content": label and label.ProduceID, "problems": problems}
