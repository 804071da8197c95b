"""The machine behind test_stateful.py: writers, workers and operators, in any order."""
