"""Runs of MLflow side by side: settings that differ, measures, curves, pictures, one film.

`runs` finds them, `table` says what differs, `pictures` and `film` show the same instants of
each, `plots` draws numbers, `report` puts it all into a folder and back into MLflow.
"""
