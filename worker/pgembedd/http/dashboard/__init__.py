"""The page at `/`: queries, rendering, forms and log-in. No script."""
