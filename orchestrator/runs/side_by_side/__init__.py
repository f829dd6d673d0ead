"""Set runs beside each other: what differs between them, in what they were and in what came out.
It also says whether repeats with other seeds show that a difference is more than noise.

Nothing here prints, or repeats a run. The comparison of a run with its own repetition, step by
step, is `runs.comparison`.
"""
