"""The submitting side of rnnjob: what runs, where, and what became of it. No torch at import."""

__version__ = "0.1.0"
