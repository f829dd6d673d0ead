"""The models that come with rnnjob, beside the built-in ones: presets name them.

Each is one file that stands alone, and is treated as a model of the user's own is. So a run has its
code, and it can be copied and changed.
"""
