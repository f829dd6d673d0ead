"""Ray on this machine that nobody reaches from the network: it listens on 127.0.0.1 alone.

`python -m orchestrator.cluster.loopback start ...` is `ray start ...` for a node of such a Ray.
"""

from typing import Any

ADDRESS = "127.0.0.1"
ENVIRONMENT = {
    # Ray's own switch for laptops whose firewall would ask: this machine's address is 127.0.0.1.
    # What a node starts inherits it, so that a job's driver finds the Ray under that address, too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Otherwise every user of this machine could read the metrics of each node, without a token.
    "RAY_enable_metrics_collection": "0",
}
"""Environment variables for the process that starts a Ray, and for all its nodes."""


def main() -> None:
    """Run Ray's command line, for nodes that listen on the loopback interface alone.

    No option does that: Ray takes a loopback address in `--node-ip-address` or `--address` for a
    mistake, and puts the network's address in its place.
    """
    from ray._private import ray_constants, services
    from ray.scripts import scripts

    def address_of_this_node(*_: Any) -> str:
        return ADDRESS

    def no_ray_client() -> ImportError:
        return ImportError("jobs come through the dashboard; Ray's client server is not needed")

    services.get_node_ip_address = address_of_this_node
    scripts.get_ray_client_dependency_error = no_ray_client
    # With the switch of `ENVIRONMENT`, a node would refuse to join a cluster.
    ray_constants.ENABLE_RAY_CLUSTER = True
    scripts.main()


if __name__ == "__main__":
    main()
