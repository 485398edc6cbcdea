"""The test vectors of each protocol."""
