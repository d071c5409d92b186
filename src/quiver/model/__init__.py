"""The ground floor: records and rules every other floor shares. No I/O."""
