"""The training side: the loop (`train`), the gradient of each shard (`gradients`), their sum over
workers (`on_ray`), and below them the storage code that both sides use.

Imports neither orchestrator nor click; Ray is imported only by `on_ray`, and by
`records.ray_reports` and `records.ray_metadata`.
"""
