"""The machine behind tests/sql/stateful/test_stateful.py."""
