"""The machines of a cluster, and how many actors each of them holds."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from heygem.core import gpu
from heygem.core.errors import HeygemError, InputError, ParameterError

RESOURCE = "heygem"  # `ray start --resources '{"heygem": 3}'` sets the number of actors of a node
CORES = 4  # of an actor without a GPU
LOCAL = "local"
START_TRIES = 3
_STORE_BYTES = 100 << 20  # Ray's object store: items travel as paths, so the smallest will do


class ClusterError(HeygemError):
    """The cluster cannot be used."""

    code = "CLUSTER"


@dataclass(frozen=True)
class Slot:
    """Room for one actor.

    Attributes
    ----------
    node : str
        Ray's id of the node.
    host : str
    number : int
        Of this node's slots, from 0.
    cpus, gpus : float
        What the actor takes of the node.
    """

    node: str
    host: str
    number: int
    cpus: float
    gpus: float
    is_counted: bool = False

    @property
    def name(self) -> str:
        """For messages: "10.0.0.3/1"."""
        return f"{self.host}/{self.number}"

    def options(self) -> dict[str, Any]:
        """For Ray: the actor runs on this node and nowhere else."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "resources": {RESOURCE: 1} if self.is_counted else {},
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self.node, soft=False),
        }


def plan_slots(nodes: list[dict[str, Any]], cores: int = CORES) -> list[Slot]:
    """One slot per GPU; on a node without one, per `cores` cores; or as its resource says.

    Parameters
    ----------
    nodes : list of dict
        As `ray.nodes()` returns them.
    cores : int
        Cores of an actor on a node without a GPU.
    """
    slots = []
    for node in nodes:
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        is_counted = RESOURCE in resources
        if is_counted:
            count = int(resources[RESOURCE])
        else:
            count = int(gpus) if gpus else int(cpus // cores)
        for number in range(count):
            own_gpus = min(1.0, gpus / count)
            own_cpus = int(cpus / count) if gpus or is_counted else cores
            host = node["NodeManagerAddress"]
            slots.append(Slot(node["NodeID"], host, number, own_cpus, own_gpus, is_counted))
    return slots


@contextlib.contextmanager
def connected(address: str = LOCAL, *, actors: int | None = None) -> Iterator[None]:
    """Use a cluster while the block runs.

    No dashboard is started and nothing is reported to Ray's makers; who wants to report sets
    RAY_USAGE_STATS_ENABLED=1.

    Parameters
    ----------
    address : str
        Of the head, `host:port`; or "local": a cluster of this machine alone, which ends with the
        block. The environment (`RAY_ADDRESS`) does not change where items go.
    actors : int, optional
        How many actors a local cluster holds; default: one per GPU, else per `CORES` cores, but
        at least one.

    Raises
    ------
    InputError
        The extra `[cluster]` is not installed.
    ClusterError
        There is no cluster at this address.
    """
    require_ray()
    require_no_count(address, actors)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    quiet = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        count = actors or max(1, (os.cpu_count() or 1) // CORES)
        resources = {RESOURCE: count} if actors or not gpu.has_cuda() else None
        _start_here(resources=resources, **quiet)
    else:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            text = _one_line(error)
            remedy = "give --address HOST:PORT of a head that `ray start --head` has started"
            if "token" in text.casefold():
                remedy = "set RAY_AUTH_MODE=token, and copy the head's ~/.ray/auth_token to here"
            what = "the cluster cannot be reached"
            raise ClusterError(what, seen=f"{address}: {text}", remedy=remedy) from error
    try:
        yield
    finally:
        ray.shutdown()


def _start_here(**options: Any) -> None:
    """Start a cluster of this machine alone.

    Ray allows a node half a minute to start, which a busy machine may exceed: it is tried again.

    Raises
    ------
    ClusterError
    """
    import ray

    for remaining in reversed(range(START_TRIES)):
        try:
            ray.init(
                address=LOCAL, include_dashboard=False, object_store_memory=_STORE_BYTES, **options
            )
            return
        except Exception as error:  # Ray has no class for a node that was too slow
            ray.shutdown()
            if not remaining:
                raise ClusterError(
                    "Ray does not start on this machine",
                    seen=_one_line(error),
                    remedy="try again when the machine is less busy; heygem worker needs no Ray",
                ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def require_ray() -> None:
    """Refuse work for a cluster where the extra `[cluster]` is not installed.

    Raises
    ------
    InputError
    """
    missing = [name for name in ("ray", "fsspec") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            "what a cluster needs is not installed",
            seen=", ".join(missing),
            remedy="install the extra: pip install 'heygem[cluster]'",
        )


def require_no_count(address: str, actors: int | None) -> None:
    """Refuse a number of actors for a cluster whose nodes say it themselves.

    Raises
    ------
    ParameterError
    """
    if actors is not None and address != LOCAL:
        raise ParameterError(
            "the number of actors is that of the nodes of a cluster",
            seen=actors,
            remedy=f"start nodes with ray start --resources '{{\"{RESOURCE}\": {actors}}}'",
        )
