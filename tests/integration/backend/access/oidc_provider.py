"""A small OpenID provider in a process of its own: discovery, PKCE, rotating refresh tokens, a real RSA key.

    python -m tests.integration.backend.access.oidc_provider

prints its address and serves until it is ended. `PUT /control` says who signs on next (`sub`, `email`) and what
the provider does wrong (`wrong`); `POST /rotate` gives it a new key.
"""

import base64
import hashlib
import socket
import sys
import time
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse
from jwt.algorithms import RSAAlgorithm

CLIENT, SECRET = "substra_backend", "somesecret-of-thirty-two-characters"


class Key:
    def __init__(self) -> None:
        self.id = uuid4().hex
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def public(self) -> dict[str, Any]:
        found: dict[str, Any] = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**found, "kid": self.id, "use": "sig", "alg": "RS256"}


class Provider:
    """What the provider knows, and who signs on next."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key = Key()
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_tokens: dict[str, dict[str, str]] = {}
        self.identity = {"sub": "subject-1", "email": "alice@hospital.test"}
        self.wrong = ""
        self.seen: dict[str, Any] = {"refreshes": 0, "scope": "", "authorization": {}}

    def tokens(self, identity: dict[str, str], nonce: str | None, offline: bool) -> dict[str, Any]:
        access_token = token_urlsafe(16)
        self.codes[access_token] = identity
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": self.id_token(identity, nonce),
        }
        if offline:
            refresh_token = token_urlsafe(16)
            self.refresh_tokens[refresh_token] = identity
            answer["refresh_token"] = refresh_token
        return answer

    def id_token(self, identity: dict[str, str], nonce: str | None) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            **identity,
            "iss": "https://elsewhere.test" if self.wrong == "issuer" else self.address,
            "aud": "another client" if self.wrong == "audience" else CLIENT,
            "iat": now - 7200,
            "exp": now - 3600 if self.wrong == "expiry" else now + 300,
        }
        if self.wrong == "no email":
            del claims["email"]
        if nonce is not None:
            claims["nonce"] = "stale" if self.wrong == "nonce" else nonce
        headers = {"kid": self.key.id}
        if self.wrong == "algorithm none":
            return jwt.encode(claims, "", algorithm="none", headers=headers)
        if self.wrong == "algorithm HS256":
            return jwt.encode(claims, SECRET, algorithm="HS256", headers=headers)
        key = Key() if self.wrong == "key" else self.key
        return jwt.encode(claims, key.private, algorithm="RS256", headers=headers)


def application(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    def configuration() -> dict[str, str]:
        return {
            "issuer": provider.address,
            "authorization_endpoint": f"{provider.address}/authorize",
            "token_endpoint": f"{provider.address}/token",
            "userinfo_endpoint": f"{provider.address}/userinfo",
            "jwks_uri": f"{provider.address}/keys",
        }

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [provider.key.public()]}

    @app.get("/authorize")
    def authorize(request: Request) -> RedirectResponse:
        """Everybody who comes here is signed on at once."""
        asked = dict(request.query_params)
        provider.seen["authorization"] = asked
        if asked["client_id"] != CLIENT or asked["response_type"] != "code":
            raise HTTPException(400)
        if provider.wrong == "denied":
            query = {"error": "access_denied", "state": asked["state"]}
        else:
            code = token_urlsafe(16)
            provider.codes[code] = {**asked, **provider.identity}
            query = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(query)}", status_code=302)

    @app.post("/token")
    async def token(request: Request) -> JSONResponse:
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") != expected:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        if provider.wrong == "down":
            return JSONResponse({}, status_code=503)
        form = dict(await request.form())
        refused = JSONResponse({"error": "invalid_grant"}, status_code=400)
        if form["grant_type"] == "refresh_token":
            provider.seen["refreshes"] += 1
            identity = provider.refresh_tokens.pop(str(form["refresh_token"]), None)
            if identity is None or provider.wrong == "revoked":
                return refused
            if provider.wrong == "subject":
                identity = {**identity, "sub": "somebody else"}
            return JSONResponse(provider.tokens(identity, None, offline=True))
        begun = provider.codes.pop(str(form["code"]), None)
        if begun is None or form["redirect_uri"] != begun["redirect_uri"]:
            return refused
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if begun["code_challenge_method"] != "S256" or challenge != begun["code_challenge"]:
            return refused
        identity = {"sub": begun["sub"], "email": begun["email"]}
        offline = "offline_access" in begun["scope"]
        return JSONResponse(provider.tokens(identity, begun["nonce"], offline))

    @app.get("/userinfo")
    def userinfo(request: Request) -> dict[str, str]:
        access_token = request.headers["authorization"].removeprefix("Bearer ")
        return provider.codes[access_token]

    @app.put("/control")
    async def control(request: Request) -> dict[str, Any]:
        said = await request.json()
        provider.wrong = said.pop("wrong", "")
        provider.identity.update(said)
        return provider.seen

    @app.post("/rotate")
    def rotate() -> None:
        provider.key = Key()

    return app


def main() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(application(Provider(address)), log_config=None))
        listener.listen(64)
        sys.stdout.write(address + "\n")
        sys.stdout.flush()
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
