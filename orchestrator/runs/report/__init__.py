"""Render runs as one HTML page: report.html, with its figures, its style and its script.

`content` reads what a page shows from run folders, `charts` draws, `sections` and `html` put it
together. The rows of the test split, which need the model and the data, come from above.
"""
