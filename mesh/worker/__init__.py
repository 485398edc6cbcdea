"""Runs the channels of a worker.

It opens no socket: commands of the link and broadcasts come in, commands and broadcasts go out.
"""
