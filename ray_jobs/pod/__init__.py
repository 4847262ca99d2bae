"""The runner in a worker pod of the cluster: a Ray Job's entry point, beside a function's container.

See docs/kuberay.md. `plugin` alone imports Ray; the entry point never does (rule 33).
"""
