"""Data sets: find or fetch one by name, cut it into Parquet shards, check them on use."""
