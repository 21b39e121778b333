"""The bill of materials: what is installed, under which licence, from where.

`inventory` collects the items and writes the listings, `bundled` finds libraries inside wheels,
`licences` turns what packages state into SPDX, `cyclonedx` writes the official format.
"""

from heygem.provenance.sbom.inventory import collect, report, write

__all__ = ["collect", "report", "write"]
