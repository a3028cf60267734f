"""Python code that the tests bring along."""
