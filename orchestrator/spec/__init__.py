"""What a job is. `build` merges preset, file, flags and defaults, `validation` checks the values,
`job_spec` is the result, and `plan` adds what a driver needs to run it.
`template` writes a file to begin with, from the descriptions in job.schema.json.

Nothing in this package starts a job or knows where it runs.
"""
