"""Labelled pictures of AI-made frames."""

import numpy as np
import pytest
from PIL import Image

from heygem.config.params import LabelSettings
from heygem.provenance import containers
from heygem.provenance.aigc import parse_label
from heygem.provenance.picture import label_picture, save_labelled
from heygem.provenance.verify import verify_file

QUIET = LabelSettings(visible=False, requester="a", approver="b", reason="c")


def sheet(height=300, width=640):
    return np.random.default_rng(0).integers(40, 200, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(300, 640), (720, 1440), (180, 120), (91, 333)])
def test_the_label_stands_above_the_picture_and_covers_none_of_it(size):
    image = sheet(*size)
    page = label_picture(image)
    height, width = (n // 2 * 2 for n in size)
    assert page.shape[0] > height and page.shape[1] == width
    assert (page[-height:] == image[:height, :width]).all()
    assert (page[:-height] > 200).any(), "white letters in the strip"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sheet.png", "sheet.jpg"])
def test_a_saved_picture_is_labelled_for_people_and_machines(tmp_path, name):
    path = save_labelled(sheet(), tmp_path / name)
    (text,) = containers.read_tags(path)
    assert parse_label(text)[1] == []
    layers = verify_file(path).layers
    assert layers["visible"].verdict == layers["metadata"].verdict == "compliant"


def test_without_the_visible_label_the_metadata_stay(tmp_path):
    image = sheet()
    path = save_labelled(image, tmp_path / "sheet.png", QUIET)
    assert len(containers.read_tags(path)) == 1
    with Image.open(path) as picture:
        assert (np.asarray(picture) == image).all()
