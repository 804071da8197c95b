"""Tests of worker/pgembedd/search."""
