"""A cluster of processes on one machine: supervision, output, rolling restart, readiness."""
