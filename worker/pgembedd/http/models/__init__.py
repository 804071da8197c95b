"""The models of the service, and the requests that wait for them."""
