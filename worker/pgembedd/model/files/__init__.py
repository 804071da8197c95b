"""A model's files: where they come from, their pinned digests, the cache on disk."""
