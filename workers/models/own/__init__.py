"""Models of the user's own: their code in a run folder, its import, and how a step calls them.

What these models must keep to, and the trial that refuses the others, is in `trial/`. The built-in
models are one folder above. Which files of a user's disk make up the code is decided where a job is
submitted.
"""
