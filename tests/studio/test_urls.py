"""Addresses of files below the folder of the server."""

import pytest

from heygem.core.errors import OutputError
from heygem.studio import urls

pytestmark = pytest.mark.usefixtures("isolated_home")


def test_addresses_are_below_the_servers_root(tmp_path, monkeypatch):
    assert urls.page_url(tmp_path / "a b" / "嘴.mp4") == "files/a%20b/%E5%98%B4.mp4"
    with pytest.raises(OutputError, match="cannot reach"):
        urls.page_url(tmp_path.parent / "x.mp4")
    with pytest.raises(OutputError, match="hidden"):
        urls.page_url(tmp_path / ".cache" / "x.mp4")


def test_without_a_server_the_address_is_a_file_url(tmp_path, monkeypatch):
    monkeypatch.delenv(urls.ROOT_VARIABLE)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert urls.page_url(tmp_path / "x.mp4").startswith("file://")
