"""The training side: the loop (`train`), the gradient of each shard (`gradients`), their sum over
workers (`collectives`), and below them the storage code that both sides use.

Imports neither orchestrator nor click; only `ray_worker` imports Ray.
"""
