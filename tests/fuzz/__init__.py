"""Fuzzing: targets that take any bytes, what mutates their seeds, short runs for every day and long ones."""
