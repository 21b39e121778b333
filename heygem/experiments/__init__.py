"""Experiments: the MLflow store, recorded runs, and comparisons of them."""
