"""The prefixes of the routes.

A route of our own stands below `API`, where its shape is kept until the number changes. A route whose shape is that of
another product stands where that product's clients look for it.
"""

API = "/api/v1"
FUNCTIONS = "/functions/v1"
"""Supabase's Edge Functions: supabase-js adds it to the service's URL."""
OPENAI = "/v1"
