"""Answers to questions about a table: asked and read (questions), watched (watch), made by a worker (answerer)."""
