"""Numbers in, numbers out: distances, selection, partitioners and codecs. No I/O."""
