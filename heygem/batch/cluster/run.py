"""Makes the jobs of a queue on a cluster: the entry for the command line and for notebooks."""

import threading

from heygem.batch.cluster.actors import ActorOptions
from heygem.batch.cluster.nodes import CORES, LOCAL, connected
from heygem.batch.queue import JobQueue


def work(
    queue: JobQueue,
    *,
    address: str = LOCAL,
    actors: int | None = None,
    cores: int = CORES,
    options: ActorOptions | None = None,
    batch: str | None = None,
    time_limit_s: float | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Make the jobs of a queue on a cluster until none is open, or `cancel` is set.

    Parameters
    ----------
    queue : JobQueue
    address, actors
        See `heygem.batch.cluster.nodes.connected`.
    cores : int
        Cores of an actor on a node without a GPU.
    options : ActorOptions, optional
    batch : str, optional
        End when this batch has no open job, whatever else is in the queue.
    time_limit_s : float, optional
        See `heygem.batch.cluster.driver.Driver`.
    cancel : threading.Event, optional

    Raises
    ------
    ClusterError, InputError
        There is no such cluster, or no room in it; Ray is not installed.
    """
    with connected(address, actors=actors):
        from heygem.batch.cluster.driver import Driver  # needs Ray, which `connected` looks for

        driver = Driver(queue, options, cores=cores, time_limit_s=time_limit_s)
        driver.run(cancel, batch=batch)
