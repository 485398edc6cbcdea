"""Tests of channels without a network: `ChannelCase`, and the values that assertions compare with.

Tests are plain `def` functions: a case owns an event loop and runs it inside each call. Channelmesh's
pytest plugin has a fixture, `channel_case`, for the endpoint that your fixture `mesh_endpoint` returns.
Source: Phoenix.ChannelTest.
"""

from mesh.testing.channel_case import ChannelCase, ConnectRefused
from mesh.testing.clients import JoinRefused, TestChannel, TestSocket
from mesh.testing.matching import ANY, Contains

__all__ = ["ANY", "ChannelCase", "ConnectRefused", "Contains", "JoinRefused", "TestChannel", "TestSocket"]
