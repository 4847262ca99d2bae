"""The agent in a function's container (the cluster's pods): nothing but the standard library and `inner`.

A pod has two containers: Ray's worker with our runner, and the unmodified function image, in which this agent
is the first process. The two share a Unix socket and folders for inputs and outputs; see docs/kuberay.md.
"""
