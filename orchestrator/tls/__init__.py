"""Transport security: the server's own certificate, the certificates it trusts, and whom they speak for."""
