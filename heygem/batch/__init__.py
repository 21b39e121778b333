"""Many items: planned, queued, made, recorded and reported.

`items` turns a recipe into items; `item/` makes one and records it; `queue/` holds what is to be
made and `workers/` make it; `cluster/` does so on many machines; `results/` is what a batch leaves.
`runner` makes a few items in this process, `queued_batch` a batch through the queue; `notebooks`
runs notebooks with Papermill.
"""
