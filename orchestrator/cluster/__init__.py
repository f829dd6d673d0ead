"""Clusters: how to reach one, and how to bring one up on this machine or through Ray's launcher."""

from orchestrator.cluster.connection import Connection, connection, given_address

__all__ = ["Connection", "connection", "given_address"]
