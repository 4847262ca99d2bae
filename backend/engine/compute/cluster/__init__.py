"""The compute pool on KubeRay: worker groups of function images, sessions as Ray Jobs (rules 33 and 34)."""
