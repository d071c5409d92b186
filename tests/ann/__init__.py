"""Tests of distances, partitioners and codecs."""
