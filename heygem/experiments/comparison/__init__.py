"""Comparison of recorded runs: settings that differ, metrics, lip curves, frames, and one film.

`table` lists what differs, `contact_sheet` and `film` show the same instants of each video, `plots`
draws metrics and curves, `report` writes everything into a folder and records it in MLflow.
"""
