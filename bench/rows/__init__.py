"""The rows of the table of results."""
