"""Many machines: Ray says where an item runs; queue, item code, manifests and ledger stay the same.

- `storage`: inputs and results in a shared folder or an object store, through fsspec.
- `cache`: each node's copies of inputs, by their content.
- `records`: the head appends to the one ledger and signs; nodes ask it to.
- `results`: one item's files at their final location.
- `actors`: one process per GPU, or per some cores, that makes items.
- `nodes`: which machines there are, and how many actors each can hold.
- `fleet`: the actors, started where there is room and replaced where they die.
- `driver`: takes items from the queue on the head and hands them to actors.
- `tracking`: MLflow's runs, recorded on the head.
- `run`: the entry, `run.work(queue, address=...)`.

What it needs is the extra `[cluster]` (`nodes.require_ray`); the rest of heygem works without.
"""
