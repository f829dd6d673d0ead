"""The others, each as its users would write it. None of them imports rnnjob.

Each is a program that prints its figures as one JSON document in the last line.
"""
