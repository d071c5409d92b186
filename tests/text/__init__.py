"""Tests of analysis, postings and BM25."""
