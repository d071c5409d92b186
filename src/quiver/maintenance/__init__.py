"""The maintenance process as its parent sees it."""
