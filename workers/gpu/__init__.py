"""How a worker computes on a GPU: its settings, its streams and graphs, and the gradient rows of
its shards. Arithmetic that a CPU shares belongs in `workers.pieces` and `workers.models`.
"""
