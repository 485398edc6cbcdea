"""The transport over plain ZeroMQ: a DEALER in each client, one ROUTER for all."""
