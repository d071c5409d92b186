"""What S3 Vectors means, without HTTP."""
