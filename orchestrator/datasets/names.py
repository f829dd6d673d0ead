"""How the name of a data set tells what it is. It imports nothing, so that a shell can ask."""

TABLE_PREFIX = "parquet:"
"""What the name of a data set begins with if it is the URI of tables."""
