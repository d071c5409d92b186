"""Text to terms, terms to postings, postings to scores. No I/O."""
