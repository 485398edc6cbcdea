"""The gateway's HTTP side: mounts, origin check, static files."""
