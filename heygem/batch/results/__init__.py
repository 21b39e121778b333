"""What a batch leaves beside its videos: gallery, tables, comparison of a sweep, ZIP, report."""
