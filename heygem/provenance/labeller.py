"""All layers of one result, in the only order that works.

Invisible mark, visible label, encoding, metadata, Content Credentials: each later layer covers the
earlier ones, and the credentials are bound to every byte. The ledger's row is written before the
file gets its name, so there is no result that the record does not know.
"""

import uuid
from pathlib import Path

from heygem.core.errors import HeygemError, OutputError
from heygem.provenance import containers, credentials
from heygem.provenance.aigc import KEY, aigc_tags, parse
from heygem.provenance.fingerprint import Fingerprint, PictureHasher, hash_sound
from heygem.provenance.ledger import file_hash
from heygem.provenance.ledger import user as ledger_user
from heygem.provenance.visible import SHORTEST_S, VisibleLabel
from heygem.provenance.watermark.detect import MIN_S
from heygem.provenance.watermark.embed import Watermark, new_id


class Labeller:
    """Labels one clip.

    Parameters
    ----------
    settings : heygem.config.params.LabelSettings
    width, height : int
        Size of the frames, pixels.
    keys : heygem.provenance.keys.Keys
    keep_clear : sequence of (x0, y0, x1, y1), optional
        Face boxes; see `VisibleLabel`.
    device : str
        Where the mark is computed: "cuda", or anything else for the processor.

    Attributes
    ----------
    produce_id : str
        The content's number, in the metadata and in the ledger.
    mark_id : int or None
    tags : dict of str to str
        For `VideoWriter(metadata=)`.
    visible : VisibleLabel
    """

    def __init__(self, settings, width, height, *, keys, keep_clear=None, device="cpu"):
        self._settings = settings
        self._keys = keys
        self.produce_id = uuid.uuid4().hex
        self.tags = aigc_tags(settings, self.produce_id, keys=keys)
        self.visible = VisibleLabel(settings, width, height, keep_clear=keep_clear)
        self.mark_id = new_id() if settings.watermark else None
        self._mark = None
        if settings.watermark:
            self._mark = _mark(keys.mark_secret, self.mark_id, width, height, device)
        self._hasher = PictureHasher()
        self._last_s = 0.0

    def stamp(self, image, time_s):
        """A labelled copy of one frame: `uint8 [H, W, 3]`, RGB; frames in order of time."""
        if self._mark is not None:
            image = self._mark.embed(image, time_s)
        image = self.visible.draw(image)
        self._hasher.add(image, time_s)
        self._last_s = time_s
        return image

    def seal(self, path, *, ledger, parent, title=None, sound=None, facts=None, version="0"):
        """Finish a written file: read the metadata back, sign it, enter it into the ledger.

        Parameters
        ----------
        path : path-like
            The encoded file, with `tags` in it, under its temporary name.
        ledger : heygem.provenance.ledger.Ledger
        parent : path-like
            The person's recording.
        title : str, optional
            The name the file is going to have.
        sound : (float32 [n], int), optional
            What is heard, and its rate in Hz: for the fingerprint.
        facts : dict, optional
            What it was made from and with: plain values, kept in the ledger.
        version : str
            Of the kit.

        Returns
        -------
        dict
            Plain values for the run's manifest.

        Raises
        ------
        OutputError
            A layer is not there when read back. The file must then not be kept.
        """
        path = Path(path)
        title = title or path.name
        self._require_tag(path, title)
        layers = {
            "visible": self._visible_state(),
            "metadata": "written",
            "mark": "written" if self._mark is not None else "switched off",
            "c2pa": "switched off",
        }
        if self._settings.c2pa and credentials.can_carry(path):
            credentials.sign(path, self._keys, parent=parent, title=title, version=version)
            self._require_tag(path, title)
            layers["c2pa"] = "written"
        elif self._settings.c2pa:
            layers["c2pa"] = f"not possible in {path.suffix}"
        words = hash_sound(*(sound if sound is not None else ([], 1)))
        prints = Fingerprint(self._hasher.words, words)
        entry = ledger.append(
            "made",
            file_hash(path),
            {
                "produce_id": self.produce_id,
                "title": title,
                "user": ledger_user(),
                "layers": layers,
                "label_text": self._settings.text if self._settings.visible else None,
                "label_box": self.visible.box,
                "input_label": _input_label(parent),
                "fingerprint": prints.to_dict(),
                **(facts or {}),
            },
            mark_id=self.mark_id,
        )
        return {
            "produce_id": self.produce_id,
            "mark_id": None if self.mark_id is None else f"{self.mark_id:016x}",
            "layers": layers,
            "notes": [*self.visible.notes, *self._shortness()],
            "box": self.visible.box,
            "ledger_row": entry.number,
            "ledger_hash": entry.hash,
        }

    def _shortness(self):
        """What a clip is too short for."""
        if self.visible.box is not None and self._last_s < SHORTEST_S:
            yield f"shorter than the {SHORTEST_S:.0f} s for which the label has to be seen"
        if self._mark is not None and self._last_s < MIN_S:
            yield "too short for the invisible mark to be read back"

    def _visible_state(self):
        if self.visible.box is not None:
            return "written"
        return f"switched off, asked for by {self._settings.requester}: {self._settings.reason}"

    def _require_tag(self, path, title):
        found = containers.read_tags(path)
        if found != [self.tags[KEY]]:
            raise OutputError(
                f"{title} does not carry its metadata label",
                seen=f"{len(found)} labels, the right one {'not ' * (self.tags[KEY] not in found)}"
                "among them",
                remedy="write it as .mp4, .mov or .mkv",
            )


def _mark(secret, mark_id, width, height, device):
    if not str(device).startswith("cuda"):
        return Watermark(secret, mark_id, width, height)
    from heygem.provenance.watermark.embed_torch import TorchWatermark

    return TorchWatermark(secret, mark_id, width, height, device=device)


def _input_label(parent):
    """What label the input carried itself, as text and as what it says; None without."""
    try:
        texts = containers.read_tags(parent)
    except (HeygemError, OSError):  # a kind of file that has no tags to read
        return None
    if not texts:
        return None
    label, problems = parse(texts[0])
    return {"text": texts[0], "content": label and label.ProduceID, "problems": problems}
