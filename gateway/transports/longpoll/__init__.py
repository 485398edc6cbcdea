"""The long-poll transport: sessions that outlive HTTP requests, each on the gateway that began it."""
