"""Tests of the S3 Vectors API as clients see it: the assembled server over real roots, and the library."""
