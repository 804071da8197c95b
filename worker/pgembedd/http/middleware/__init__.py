"""Before every route: limits on connections and bodies, metrics, security headers, one path for two functions."""
