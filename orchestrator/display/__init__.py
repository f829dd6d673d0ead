"""How a job is shown to people: its progress and outcome in words, on a terminal or in a notebook.

What the text is about is read in `runs` and `observe`; commands print through `cli`. Text may be a
stranger's: here it is made harmless for a terminal, or for a page.
"""
