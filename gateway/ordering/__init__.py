"""The ordering guarantee between the bus and the links, in both directions."""
