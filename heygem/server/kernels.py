"""The kernels of a server: nothing remains of one that has ended."""

from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class KernelManager(AsyncMappingKernelManager):
    """Jupyter's own, which also forgets the messages that it kept for a page that has left.

    When the last page of a kernel disconnects, Jupyter begins to keep the kernel's messages for its
    return. A page that is left ends its kernel and disconnects while that ends; its connection,
    with sockets and request, would then be kept for as long as the server lives.
    """

    def remove_kernel(self, kernel_id: str) -> Any:
        """Remove a kernel that has ended; returns its manager, or None where there is none."""
        if kernel_id in self:
            self.stop_buffering(kernel_id)
        return super().remove_kernel(kernel_id)
