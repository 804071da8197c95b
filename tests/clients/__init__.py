"""Programs of pages that use packages of other projects: `make test-clients` runs them."""
