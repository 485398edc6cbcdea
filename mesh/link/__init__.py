"""The links between gateways and workers: DEALER and ROUTER (ZeroMQ RFC 28), batches of commands."""
