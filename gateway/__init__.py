"""Terminates clients: transports, sessions, fan-out, links to the workers."""
