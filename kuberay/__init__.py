"""A thin typed client for KubeRay's objects (`ray.io/v1`): build, apply, patch, watch, read, delete.

`transport.Connection` is the way to an API server, `resources.Resource` the operations on one kind,
`building` makes objects, `groups` changes the worker groups of a running cluster, `status` reads what became of
them, `errors` is all that can be raised. Knows nothing of what runs on the clusters.
"""
