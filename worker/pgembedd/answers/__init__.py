"""Answers to questions about a table: the prompt from its excerpts, the citations, and the worker's part."""
