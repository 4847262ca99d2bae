"""The OpenAPI document: declared as data beside the routes, served, printed, and held against the answers."""
