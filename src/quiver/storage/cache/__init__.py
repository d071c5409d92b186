"""What a process keeps of the objects of a remote store: blocks in memory and on disk, fetched when missing."""
