"""The parts of scripts/chaos.py: faults, load, judging, report."""
