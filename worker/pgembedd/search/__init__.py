"""Searches as the caller of the database: one call for programs, the command line, HTTP and MCP."""
