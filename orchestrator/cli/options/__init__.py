"""Flags that several commands share, and the functions that read their values.

A flag that only one command has stays in that command's module.
"""
