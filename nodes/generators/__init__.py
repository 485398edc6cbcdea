"""Files for new applications, channels, sockets and presences. Source: Phoenix's phx.gen.* tasks."""
