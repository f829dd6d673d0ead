"""Records of local clusters that do not exist."""

import socket

from orchestrator.cluster.local_registry import LocalCluster, LocalNode, ProcessId


def make_cluster(name: str = "local", folder: str = "/nowhere") -> LocalCluster:
    return LocalCluster(
        name=name,
        address="http://127.0.0.1:18265",
        token_path=f"{folder}/token",
        folder=folder,
        host=socket.gethostname(),
        created_at=1.0,
        started_by=ProcessId(1, 0.0, "rnnjob"),
        cpus_per_node=1,
        ray_version="2.60.0",
        python_version="3.11.0",
        nodes=(LocalNode(f"{name}-n0", "ab12", (ProcessId(1, 0.0, "raylet"),)),),
    )
