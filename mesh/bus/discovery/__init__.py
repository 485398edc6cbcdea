"""Which nodes there are: what they announce on the bus, and which worker a topic belongs to."""
