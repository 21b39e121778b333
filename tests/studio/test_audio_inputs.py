"""Uploaded audio."""

import pytest

from heygem.core import i18n
from heygem.core.errors import InputError
from heygem.studio.audio_inputs import save_upload

pytestmark = pytest.mark.usefixtures("isolated_home")


def test_an_upload_stays_in_its_folder_and_is_limited_in_size(tmp_path):
    translate = i18n.translator()
    path = save_upload(
        {"name": "../../a b.wav", "content": memoryview(b"RIFF")}, tmp_path, translate
    )
    assert path.parent == tmp_path and path.read_bytes() == b"RIFF"
    other = save_upload({"name": "a b.wav", "content": b"RIFX"}, tmp_path, translate)
    assert other != path and path.read_bytes() == b"RIFF"  # a queued job may still need it
    with pytest.raises(InputError, match="too large"):
        save_upload({"name": "a.wav", "content": bytes(9 << 20)}, tmp_path, translate)
    with pytest.raises(InputError, match="not an audio file"):
        save_upload({"name": "a.exe", "content": b"x"}, tmp_path, translate)
