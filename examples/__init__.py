"""Scripts that make the data of the worked examples in docs/examples.md."""
