"""Vector codecs: how a row is encoded for the scan."""
