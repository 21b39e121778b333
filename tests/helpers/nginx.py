"""A real nginx on loopback with the configuration that is shipped, and a certificate of its own."""

import http.client
import shutil
import ssl
import subprocess
import time
import urllib.request

from helpers.certificates import server_certificate
from helpers.hub import PROJECT, Browser, free_ports

SHIPPED = PROJECT / "params/served/nginx.conf"


class Nginx:
    """The shipped configuration in front of a hub; only addresses and paths are replaced."""

    def __init__(self, folder, hub_address, **replaced):
        self.folder = folder
        folder.mkdir()
        certificate, key = server_certificate(folder)
        self._tls, self._plain = free_ports(2)
        self.address, self.plain = (
            f"https://127.0.0.1:{self._tls}",
            f"http://127.0.0.1:{self._plain}",
        )
        self.context = ssl.create_default_context(cafile=str(certificate))
        text = SHIPPED.read_text()
        for old, new in {
            "listen 443 ssl http2": f"listen 127.0.0.1:{self._tls} ssl http2",
            "listen 80": f"listen 127.0.0.1:{self._plain}",
            "/etc/ssl/studio.pem": str(certificate),
            "/etc/ssl/studio.key": str(key),
            "http://127.0.0.1:8000": hub_address,
            **replaced,
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        (folder / "site.conf").write_text(text)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self._main = folder / "nginx.conf"
        self._main.write_text(
            f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{ worker_connections 256; }}\n"
            f"http {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
        )

    def __enter__(self):
        command = [shutil.which("nginx"), "-c", str(self._main), "-p", str(self.folder)]
        subprocess.run([*command, "-t", "-q"], check=True)
        self._process = subprocess.Popen(command)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(20)

    def browser(self):
        """A new browser that trusts the certificate."""
        return Browser(self.address, self.context)

    def open(self, path):
        """An answer with its headers."""
        return urllib.request.urlopen(self.address + path, context=self.context, timeout=60)

    def ask_plain(self, path):
        """Status and target of a request without TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", self._plain, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")

    def wait(self):
        """Wait until it listens."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.browser().ask("/")
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
