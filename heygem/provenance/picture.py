"""Pictures of AI-made frames (contact sheets, crops), labelled above and in their metadata."""

import uuid
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

from heygem.config.params import LabelSettings
from heygem.core.types import Image, PathLike
from heygem.provenance import containers
from heygem.provenance.aigc import KEY, aigc_tags
from heygem.provenance.visible import VisibleLabel, label_strip_px

GREY = 32  # of the strip


class LabelledPage:
    """A page of even size: a strip for the label, and a picture below it.

    Parameters
    ----------
    width, height
        Of the picture, pixels; an odd last row or column is left out.
    settings
        Without a visible label there is no strip.

    Attributes
    ----------
    size : tuple of int
        Width and height of the page, pixels.
    content : tuple of int
        Box of the picture on it, (x0, y0, x1, y1).
    """

    def __init__(self, width: int, height: int, settings: LabelSettings) -> None:
        width, height = width // 2 * 2, height // 2 * 2
        self._strip_px = label_strip_px(settings, width, height)
        self.size = (width, self._strip_px + height)
        self.content = (0, self._strip_px, *self.size)

    def around(self, picture: Image) -> Image:
        """The page with a picture, uint8 [H, W, 3], without the label."""
        width, height = self.size
        page = np.full((height, width, 3), GREY, np.uint8)
        page[self._strip_px :] = picture[: height - self._strip_px, :width]
        return page


def label_picture(image: Image, settings: LabelSettings | None = None) -> Image:
    """An image uint8 [H, W, 3] with the label in a strip above it."""
    settings = settings if settings is not None else LabelSettings()
    page = LabelledPage(image.shape[1], image.shape[0], settings)
    label = VisibleLabel(settings, *page.size, keep_clear=[page.content])
    return label.draw(page.around(image))


def save_labelled(image: Image, path: PathLike, settings: LabelSettings | None = None) -> Path:
    """Write an image as PNG or JPEG, with the label above it and in its metadata.

    Raises
    ------
    OutputError
        The label does not read back.
    """
    settings = settings if settings is not None else LabelSettings()
    picture = PilImage.fromarray(label_picture(image, settings))
    picture.save(path, compress_level=0)  # of PNG, which is written once more, with its tag
    containers.write_tag(path, aigc_tags(settings, uuid.uuid4().hex)[KEY])
    return Path(path)
