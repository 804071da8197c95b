"""The page at `/`: queries, rendering and forms. No script."""
