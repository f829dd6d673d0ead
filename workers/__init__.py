"""The training side of rnnjob: what a job does, whoever runs it."""
