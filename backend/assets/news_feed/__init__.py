"""What happened lately: plans created, started and ended, data managers created (rest-api.md 15.2)."""
