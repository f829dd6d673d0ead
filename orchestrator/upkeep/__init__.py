"""The room that runs and all around them take: how much it is, and what of it nothing needs.

Nothing here starts, follows or changes a run. What is removed is only what a person asked for, and
never anything of a run that has not ended.
"""
