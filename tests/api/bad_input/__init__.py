"""The bad-input catalogue: every kind of bad input, row by row, with the answer it must get."""
