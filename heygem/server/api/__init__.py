"""The HTTP API of a Jupyter server with heygem: submit, follow, fetch, cancel and repeat jobs.

`heygem.server.api.client` is its client for Python; `docs/api.md` has a tour, and
`heygem.server.api.openapi` writes the document that describes every request.
"""
