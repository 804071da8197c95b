"""Workers that Ray places on two nodes of one machine: `make test-cluster` runs them."""
