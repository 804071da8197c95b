"""The server of the Model Context Protocol: tools that search, for assistants."""
