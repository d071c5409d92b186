"""IAM policies as pure values: read from JSON, and judged. Knows nothing of buckets, requests or HTTP."""
