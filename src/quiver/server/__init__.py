"""S3 Vectors over HTTP: an ASGI application."""
