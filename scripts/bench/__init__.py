"""What scripts/bench.py and scripts/growth.py are made of: servers, loads, rows, reports."""
