"""Who is where, replicated over the bus: what Presence stands on."""
