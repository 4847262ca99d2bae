"""How often strangers may ask."""
