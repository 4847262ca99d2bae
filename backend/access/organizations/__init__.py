"""Organizations of a channel: who is a member, under which address."""
