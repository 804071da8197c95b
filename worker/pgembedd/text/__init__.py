"""Pure functions of text: chunks, Unicode, quantities in words."""
