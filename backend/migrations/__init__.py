"""The schema's history. Within a minor version migrations only add: older replicas still work (rule 10)."""
