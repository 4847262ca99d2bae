"""Single sign-on by OpenID Connect: the browser's way to the provider and back, and how long it holds."""
