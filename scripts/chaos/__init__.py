"""What scripts/chaos.py is made of: faults, load, judging, a report."""
