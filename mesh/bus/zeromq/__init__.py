"""The bus over ZeroMQ: PUB and SUB through one or more proxies, with failover between them."""
