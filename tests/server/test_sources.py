"""Source videos of results: shown wherever they lie, and nothing else with them."""

import json
import shutil
from urllib.parse import quote

import pytest
from helpers import browser
from helpers.browser import SAMPLES, TOKEN, Server
from helpers.media import write_video, write_wav

from heygem.batch.results.source import recorded_source
from heygem.core.errors import InputError
from heygem.core.files import sha256
from heygem.server import SOURCES, jupyter


def record(details, video, sha=None, status="done"):
    """A manifest as that of a finished result."""
    details.mkdir(parents=True, exist_ok=True)
    source = {"path": str(video), "sha256": sha or sha256(video)}
    content = {"schema": 1, "id": "0", "status": status, "video": source}
    (details / "manifest.json").write_text(json.dumps(content))
    return content


def test_only_the_recorded_video_is_a_source(tmp_path):
    video = shutil.copy(SAMPLES / "hopper.mp4", tmp_path / "anna.mp4")
    content = record(tmp_path / "details", video)
    assert recorded_source(content) == (tmp_path / "anna.mp4", "video/mp4")
    secret = tmp_path / "secret.mp4"
    secret.write_text("a key\n" * 400)
    sound = write_wav(tmp_path / "a.mp4", [0.0] * 16000)
    old = write_video(tmp_path / "old.mkv", frames=5)  # H.264, which browsers play in MP4
    for other in (secret, sound, old, SAMPLES / "hopper.jpg"):
        with pytest.raises(InputError):  # with the right hash, as who knows the file could write
            recorded_source(record(tmp_path / "details", other))
    for changed in ({}, {"path": str(video)}, {"path": 3, "sha256": "0"}, "anna.mp4"):
        with pytest.raises(InputError, match="records no source"):
            recorded_source({"video": changed})
    content["video"]["path"] = str(SAMPLES / "collins.mp4")
    with pytest.raises(InputError, match="was changed"):
        recorded_source(content)
    content["video"]["path"] = str(tmp_path / "gone.mp4")
    bundle = tmp_path / "anna.heygem"
    bundle.mkdir()
    (bundle / "avatar.json").write_text("{}")
    with pytest.raises(InputError, match="made with a fine-tuned avatar"):  # it is there
        recorded_source({"video": {"path": str(bundle), "sha256": "0"}})
    with pytest.raises(InputError, match="no longer there"):
        recorded_source(content)


@pytest.mark.slow
def test_a_source_outside_the_served_folder_plays_for_its_user_only(tmp_path):
    root, elsewhere = tmp_path / "served", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    video = elsewhere / "anna.mp4"
    shutil.copy(SAMPLES / "hopper.mp4", video)
    content = video.read_bytes()
    record(root / "runs/details/安娜 1", video)
    record(root / "runs/details/begun", video, status="begun")
    record(root / "runs/.details/hidden", video)
    record(elsewhere / "details/x", video)
    key = elsewhere / "id_rsa"
    key.write_text("-----BEGIN PRIVATE KEY-----\n" * 40)
    record(root / "runs/details/key", key)
    record(root / "runs/details/other", SAMPLES / "collins.mp4", sha=sha256(video))
    server = Server(jupyter.studio_command, root)

    def ask(folder, method="GET", token=TOKEN, **headers):
        headers |= {"Authorization": f"token {token}"} if token else {}
        return browser.ask(server.port, method, f"/{SOURCES}/{quote(folder)}", **headers)

    try:
        status, headers, body = ask("runs/details/安娜 1")
        assert (status, body) == (200, content)
        assert headers["Content-Type"] == "video/mp4"
        assert headers["X-Content-Type-Options"] == "nosniff"
        status, headers, body = ask("runs/details/安娜 1", Range="bytes=100-199")
        assert (status, body) == (206, content[100:200])
        assert headers["Content-Range"] == f"bytes 100-199/{len(content)}"
        assert ask("runs/details/安娜 1", Range=f"bytes={len(content)}-")[0] == 416
        assert ask("runs/details/安娜 1", method="HEAD")[::2] == (200, b"")
        for token in ("", "wrong"):
            status, _, body = ask("runs/details/安娜 1", token=token)
            assert status in (302, 403) and content[:100] not in body
        refused = ["key", "other", "begun", "nobody", "../.details/hidden", "../../../elsewhere/x"]
        refused = [f"runs/details/{name}" for name in refused] + [f"/{elsewhere}/details/x"]
        for folder in [*refused, str(video), "elsewhere/details/x", "a\0b", "."]:
            status, _, body = ask(folder)
            assert status in (400, 404) and b"KEY" not in body and len(body) < 500, folder
        video.write_bytes(content + b"changed")
        assert ask("runs/details/安娜 1")[0] == 404
        video.unlink()
        assert ask("runs/details/安娜 1")[0] == 404
    finally:
        server.close()
