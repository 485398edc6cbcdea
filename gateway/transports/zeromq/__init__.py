"""Clients over plain ZeroMQ: a DEALER each, one ROUTER for all."""
