"""The parts of scripts/hostile.py."""
