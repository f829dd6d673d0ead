"""Compare rnnjob with its peers, each at its best, side by side in one run on one machine.

`rows.py` lists what is compared and what is wanted, `contenders.py` the commands that are measured,
`peers/` the programs of the others. `make bench` measures all rows and writes RESULTS.md.
"""
