"""Long-poll clients: sessions that outlive HTTP requests, on whichever gateway they began."""
