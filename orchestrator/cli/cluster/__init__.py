"""Commands about places where jobs can run: clusters, this machine's health, manifests for
Kubernetes.

Commands about jobs on a cluster are in `cli.jobs`.
"""
