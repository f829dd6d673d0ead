"""The folder of a run as its processes write it: every path in it, and the files that grow in it
(metrics, TensorBoard events, logs).

Weights and checkpoints are in `workers.checkpoints`. What reads a run later is in
`orchestrator.runs`.
"""
