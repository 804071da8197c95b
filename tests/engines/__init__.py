"""Other engines around the database: `make test-engines` runs them."""
