"""Fault injection: run a job with faults at seeded steps and compare it with an undisturbed run.

A new kind of fault is named in `fault_schedule` and carried out by the stages. The code with which
a job survives a fault is in `driver` and `workers`.
"""
