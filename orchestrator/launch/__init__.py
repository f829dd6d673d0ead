"""From a spec to a running job: check it, start it in a thread of this process, on a Ray started
for it or on a cluster, and resume it later. The modules `upload*` decide and show which files go to
a cluster with a job.

A new place to run jobs is a new `Launcher` in this package. What runs the job then is in `driver`,
and what follows it in `observe`.
"""
