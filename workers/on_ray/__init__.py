"""A worker as a process of Ray Train: where it begins, what it asks Ray for, and how it exchanges
numbers with the others. How it trains is the same without Ray, and not here.
"""
