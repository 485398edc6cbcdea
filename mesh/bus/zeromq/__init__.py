"""The bus over ZeroMQ: PUB and SUB (ZeroMQ RFC 29) through one or more proxies, with failover."""
