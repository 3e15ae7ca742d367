"""Two stores for holdall, found by the schemes `jsonl` and `sqlar` through the entry points of this package."""
