"""Kernels that begin with the pages' modules loaded: forks of one process, see `kernel_host`.

Where that process cannot be had (no Linux, a damaged installation), and for kernels of another
Python, kernels are started as Jupyter starts them.
"""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

HOST_MODULE = "heygem.studio.kernel_host"
LAUNCHER = ["-m", "ipykernel_launcher"]
PROVISIONER = "heygem-preloaded"
START_S = 60.0  # until a kernel is there; the process loads its modules first
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class KernelRequest:
    """What a kernel is started with.

    Attributes
    ----------
    arguments : list of str
        Of `ipykernel_launcher`.
    environment : dict of str to str
    folder : str
        The kernel's current one.
    """

    arguments: list[str]
    environment: dict[str, str]
    folder: str

    def write(self, connection: socket.socket) -> None:
        """Send the request."""
        data = json.dumps(asdict(self)).encode("utf-8", "surrogateescape")
        connection.sendall(_LENGTH.pack(len(data)) + data)

    @classmethod
    def read(cls, connection: socket.socket) -> "KernelRequest | None":
        """Receive a request; None where the other end is closed."""
        head = _receive(connection, _LENGTH.size)
        data = head and _receive(connection, _LENGTH.unpack(head)[0])
        return cls(**json.loads(data.decode("utf-8", "surrogateescape"))) if data else None


def _receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes; none where the other end is closed before."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            return b""
        data += part
    return data


def send_process(connection: socket.socket, process: int) -> None:
    """Send the number of a child, and a descriptor that stays its own when it has ended."""
    descriptor = os.pidfd_open(process)
    try:
        socket.send_fds(connection, [_LENGTH.pack(process)], [descriptor])
    finally:
        os.close(descriptor)


class ForkedProcess:
    """A process that another one forked, with the part of `subprocess.Popen` that Jupyter uses.

    Its exit status is known only to its parent: 0 stands for every end.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor = pid, descriptor

    def poll(self) -> int | None:
        """None while the process runs."""
        return 0 if self._has_ended(0) else None

    def wait(self) -> int:
        """Wait for the end, and close the descriptor."""
        self._has_ended(None)
        self._close()
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone; nothing happens once it has ended."""
        if not self._has_ended(0):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _has_ended(self, timeout_s: float | None) -> bool:
        if self._descriptor < 0:
            return True
        watched = select.poll()
        watched.register(self._descriptor, select.POLLIN)
        return bool(watched.poll(timeout_s if timeout_s is None else timeout_s * 1000))

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = _close


class KernelHost:
    """The process that has the pages' modules loaded.

    It is asked for one kernel at a time. Where it has ended, another one is started, unless it
    never made a kernel. Its kernels outlive it; they end with the server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_answered = False
        self._start()

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair()
        self._connection.settimeout(START_S)
        server = os.pidfd_open(os.getpid())
        inherited = [theirs.fileno(), server]
        try:
            command = [sys.executable, "-P", "-m", HOST_MODULE, *map(str, inherited)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited)
        finally:
            theirs.close()
            os.close(server)

    def fork(self, request: KernelRequest) -> ForkedProcess | None:
        """Start a kernel; None where the process cannot."""
        with self._lock:
            if self.process.poll() is not None:
                if not self._has_answered:
                    return None
                self._connection.close()
                self._start()
            try:
                request.write(self._connection)
                kernel = self._receive_process()
            except OSError:
                self.process.kill()
                self.process.wait()
                with contextlib.suppress(OSError):  # it may have answered before it ended
                    return self._receive_process()
                return None
            self._has_answered = True
            return kernel

    def _receive_process(self) -> ForkedProcess:
        data, descriptors, _, _ = socket.recv_fds(self._connection, _LENGTH.size, 1)
        if not descriptors:
            raise ConnectionError
        return ForkedProcess(_LENGTH.unpack(data)[0], descriptors[0])

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self.process.wait()


class PreloadedProvisioner(LocalProvisioner):
    """Starts the kernels of this Python as forks of the server's `KernelHost`."""

    host: KernelHost | None = None  # one for all kernels of the server

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        """Start a kernel, as `LocalProvisioner` does where it cannot be forked."""
        kernel = None
        if self.host is not None and cmd[:3] == [sys.executable, *LAUNCHER]:
            folder = options.get("cwd") or os.getcwd()
            request = KernelRequest(cmd[3:], dict(options.get("env") or os.environ), str(folder))
            kernel = await asyncio.to_thread(self.host.fork, request)
        if kernel is None:
            return await super().launch_kernel(cmd, **options)
        self.process = cast(Any, kernel)  # in place of a Popen
        self.pid = self.pgid = kernel.pid
        self.cwd = folder
        return self.connection_info


def install() -> None:
    """Let Jupyter start its kernels preloaded, where this system has what that takes."""
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return  # macOS, where a fork of loaded libraries is not safe either
    factory = KernelProvisionerFactory.instance()
    value = f"{__name__}:{PreloadedProvisioner.__name__}"
    factory.provisioners[PROVISIONER] = EntryPoint(PROVISIONER, value, factory.GROUP_NAME)
    factory.default_provisioner_name = PROVISIONER
    PreloadedProvisioner.host = KernelHost()
