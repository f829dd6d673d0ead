"""A user's own tables: find the Parquet files, say what each column is, cut the rows into shards.

What holds for rows of any source, such as the cache and the manifest, is in `datasets`. What a
value of a column means to a model, with its kind known, is in `workers.data`.
"""
