"""Ray clusters that outlive a job: connect to one that the user has named, query it, check that a
job fits it (`capacity`), start one on this machine or with Ray's cluster launcher, describe one for
Kubernetes (`kuberay`).

This package knows nothing about runs. `launch` hands jobs to a cluster, and starts the Ray of a
single job.
"""
