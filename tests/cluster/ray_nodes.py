"""A Ray cluster in this process: a head without CPUs and two nodes. Each line of the input ends or adds a node.

`kill PID` kills the node that started this process, `add` adds one, and `add gpu` one that says it has a GPU, which Ray
believes; each is answered by a line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

CPUS = 2  # so that one node can take the workers of both


def parents(pid: int) -> list[int]:
    """Returns the processes above this one."""
    above = int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[1])
    return [] if above <= 1 else [above, *parents(above)]


def node_of(nodes: list[Any], pid: int) -> Any:
    """Returns the node whose processes include one above `pid`."""
    above = set(parents(pid))
    return next(node for node in nodes if above & {process.pid for _, process in node.live_processes()})


def main() -> None:
    """Serves commands until the input ends."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    # Of other addresses than the head's, to which a driver on this machine connects.
    addresses = (f"127.0.0.{number}" for number in range(2, 250))

    def add(gpus: int = 0) -> Any:
        return cluster.add_node(num_cpus=CPUS, num_gpus=gpus, node_ip_address=next(addresses))

    nodes = [add(), add()]
    cluster.wait_for_nodes()
    print(cluster.address, cluster.head_node.get_session_dir_path(), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["kill", pid]:
                node = node_of(nodes, int(pid))
                nodes.remove(node)
                cluster.remove_node(node, allow_graceful=False)
            case ["add", *gpu]:
                nodes.append(add(len(gpu)))
                cluster.wait_for_nodes()
            case ["node", pid]:
                print(nodes.index(node_of(nodes, int(pid))), flush=True)
                continue
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
