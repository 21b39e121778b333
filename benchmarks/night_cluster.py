"""The night of `night.py` on a Ray cluster of this machine, of which one node dies.

    python benchmarks/night.py --cluster [--workers 4] [--items 200] [--bad 20]

Every node holds one actor; the driver runs in this process, beside the queue and the ledger. After
a third of the items one node's raylet is killed (SIGKILL), and its actor with it; no node takes its
place. Actors are killed at random as workers are in the night of one machine.
"""

import contextlib
import os
import signal
import threading

import psutil
from night import Disturber

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False}
START_TRIES = 3  # Ray gives a node half a minute, which a busy machine may exceed


class ClusterDisturber(Disturber):
    """Runs a driver until the queue is empty, and kills actors and one node meanwhile."""

    def __init__(self, queue, folder, disk, arguments, chance):
        super().__init__(queue, folder, disk, arguments, chance)
        self.lose_node_at = arguments.items // 3
        self.nodes = []
        self.driver = self.thread = None

    def run(self) -> dict[str, object]:
        import ray
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        head = {**NODE, "num_cpus": 0, "include_dashboard": False, "no_monitor": True}
        cluster = started(lambda: Cluster(initialize_head=True, head_node_args=head))
        ray.init(address=cluster.address, log_to_driver=False, logging_level="critical")
        for _ in range(self.arguments.workers):
            self.nodes.append(started(lambda: self.add_node(cluster)))
        try:
            return super().run()
        finally:
            self.thread.join()
            ray.shutdown()
            cluster.shutdown()

    @staticmethod
    def add_node(cluster):
        return cluster.add_node(**NODE, resources={"heygem": 1}, wait=False)

    def keep_workers(self) -> None:
        """Have one driver, until the queue is empty."""
        from heygem.batch.cluster.driver import Driver
        from heygem.batch.queue import JobQueue

        if self.thread is None:
            self.driver = Driver(JobQueue(self.queue.path))
            self.thread = threading.Thread(target=self.driver.run)
            self.thread.start()
            self.starts += 1

    def kill_one(self, finished: int) -> bool:
        """Kill an actor that makes an item; False where none does."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes}
        busy = [process for process in psutil.process_iter() if is_busy_actor(process, raylets)]
        if not busy:
            return False
        with contextlib.suppress(psutil.Error):
            self.chance.choice(busy).kill()
            self.kills.append({"after": finished, "what": "actor"})
            return True
        return False

    def disturb_disk(self, finished: int) -> None:
        if self.lose_node_at is not None and finished >= self.lose_node_at:
            self.lose_node_at = None
            node = self.nodes[0]
            os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
            self.kills.append({"after": finished, "what": "node"})
        super().disturb_disk(finished)


def is_busy_actor(process: psutil.Process, raylets: set[int]) -> bool:
    """Whether a process is an actor of one of these nodes that makes an item."""
    with contextlib.suppress(psutil.Error):
        title = " ".join(process.cmdline())
        return process.ppid() in raylets and title.startswith("ray::ItemActor.make")
    return False


def started(start):
    """What starts a node, tried again where the machine is too busy."""
    for _ in range(START_TRIES - 1):
        with contextlib.suppress(Exception):
            return start()
    return start()
