"""The deterministic simulator: the real commit log, catalog and engine under virtual time and seeded faults."""
