"""The gateway's HTTP server: mounts, origin check, publishing API, static files."""
