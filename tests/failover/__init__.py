"""Failovers of a Patroni cluster under writers and workers: `make test-failover` plays them."""
