"""Runs channels in a worker; knows no socket."""
