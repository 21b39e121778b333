"""One item: whether it may start, how it is made and checked, and what is recorded of it."""
