"""Bytes on a transport ⇄ Message. `registry.negotiate(vsn)` chooses the serializer."""
