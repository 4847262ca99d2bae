"""The front end's session: a signed access token in two cookies, and a refresh token that is used once."""
