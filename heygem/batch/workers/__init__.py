"""The processes that make the jobs of the queue on one machine."""
