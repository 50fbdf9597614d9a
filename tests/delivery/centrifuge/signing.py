"""Keys of every kind, made once, and tokens that are signed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from realtime.delivery.centrifuge.keys import public_keys, secret_key
from realtime.delivery.centrifuge.tokens import Tokens

SECRET = "a secret of at least thirty-two bytes, and then so many more that SHA-512 is pleased"
NOW = 1_700_000_000.0
KINDS = {
    "RS256": "rsa",
    "RS384": "rsa",
    "RS512": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}


@cache
def private_key(kind: str) -> Any:
    match kind:
        case "rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
        case "secp256k1":
            return ec.generate_private_key(ec.SECP256K1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(kind: str) -> str:
    pem: bytes = private_key(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(kind: str) -> str:
    pem: bytes = private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def jwk(kind: str, **extra: Any) -> dict[str, Any]:
    """The public key as a member of a JWKS."""
    name = {"rsa": "RS256", "p256": "ES256", "p384": "ES384", "p521": "ES512", "secp256k1": "ES256K"}
    algorithm = jwt.get_algorithm_by_name(name.get(kind, "EdDSA"))
    found: dict[str, Any] = json.loads(algorithm.to_jwk(private_key(kind).public_key()))
    found.pop("key_ops", None)
    return found | extra


def signed(algorithm: str, claims: dict[str, Any], **header: Any) -> str:
    """A token as somebody makes it who has the key."""
    key = SECRET if algorithm.startswith("HS") else private_key(KINDS[algorithm])
    return jwt.encode(claims, key, algorithm, headers=header)


def forged(header: dict[str, Any], claims: Any, key: bytes = SECRET.encode()) -> str:
    """A token put together by hand: any header, any claims (bytes as they are), HMAC with SHA-256."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    parts = ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (json.dumps(header).encode(), body)
    )
    signature = hmac.new(key, parts.encode(), hashlib.sha256).digest()
    return f"{parts}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tokens(**options: Any) -> Tokens:
    """With the secret and one public key of every kind, at NOW."""
    pem = "".join(public_pem(kind) for kind in sorted(set(KINDS.values())))
    return Tokens((secret_key(SECRET), *public_keys(pem)), now=lambda: NOW, **options)
