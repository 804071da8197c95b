"""The callers: tokens, their scopes, the roles that searches have, and requests of other sites' pages."""
