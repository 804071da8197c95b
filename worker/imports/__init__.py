"""Moving here from elsewhere: what another set up is read, and becomes pipelines that keep its vectors."""
