"""Every ZeroMQ socket is made, secured and drained here."""
