"""Runs the channels of a worker.

The package opens no sockets: it is passed link commands and broadcasts, and returns commands and
broadcasts.
"""
