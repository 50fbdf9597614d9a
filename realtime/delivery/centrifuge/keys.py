"""Keys that tokens are signed with, and whether one of them signed this one.

Every key is bound to the algorithms of its own kind when it is read, and a token's header only chooses among
them. So a public key is never taken for an HMAC secret or the other way round, and `none` is nobody's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from realtime.errors import InvalidToken

logger = logging.getLogger(__name__)

HMAC = frozenset({"HS256", "HS384", "HS512"})
RSA = frozenset({"RS256", "RS384", "RS512"})
ECDSA = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}
SHORTEST_RSA_BITS = 2048
SHORTEST_SECRET_BYTES = 32

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
_jws = jwt.PyJWS()


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it may verify, and its `kid` where it came with one."""

    algorithms: frozenset[str]
    material: Any = field(repr=False)
    kid: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart. Nothing of it is to be believed before `is_signed_by` said so."""

    algorithm: str
    kid: str
    payload: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, keys: Iterable[Key]) -> bool:
        """Whether one of these keys signed it: one of its kind and, where both have one, of its `kid`."""
        for key in keys:
            if self.algorithm in key.algorithms and (not self.kid or not key.kid or self.kid == key.kid):
                algorithm = jwt.get_algorithm_by_name(self.algorithm)
                if algorithm.verify(self.signed, key.material, self.signature):
                    return True
        return False


def take_apart(text: str) -> Token:
    """Raises InvalidToken for what is no signed JSON Web Token in compact form (RFC 7515, section 7.1)."""
    try:
        parts = _jws.decode_complete(text, options={"verify_signature": False})
        algorithm, kid = parts["header"].get("alg"), parts["header"].get("kid", "")
        signed = text.rpartition(".")[0].encode()
    except (jwt.PyJWTError, ValueError):
        raise InvalidToken("token: not a signed JSON Web Token.", field="token") from None
    if not isinstance(algorithm, str):
        raise InvalidToken("token: its header names no algorithm.", field="token")
    return Token(algorithm, kid, parts["payload"], signed, parts["signature"])


def secret_key(secret: str) -> Key:
    """The key of an HMAC secret. Raises ValueError, without its text, when it is a key of another kind."""
    if "-----BEGIN" in secret:
        raise ValueError("this is a key in PEM, not a secret")
    material = secret.encode()
    if len(material) < SHORTEST_SECRET_BYTES:
        logger.warning("token_secret_short bytes=%d advised=%d", len(material), SHORTEST_SECRET_BYTES)
    return Key(HMAC, material)


def public_keys(pem: str) -> tuple[Key, ...]:
    """The keys of any number of PEM blocks; `\\n` in it may stand for a line's end, as environments have it.

    Raises ValueError, without their text, for anything that is not a public key that can verify.
    """
    text = pem.replace("\\n", "\n")
    blocks = list(_PEM.finditer(text))
    if _PEM.sub("", text).strip() or not blocks:
        raise ValueError("give public keys in PEM, one behind the other")
    return tuple(_public_key(block[0]) for block in blocks)


def key_of_jwk(jwk: object) -> Key | None:
    """The key of one member of a JWKS (RFC 7517); None when it is not one that can verify tokens.

    Secrets are not taken from there, nor private keys.
    """
    if not isinstance(jwk, Mapping) or jwk.get("use", "sig") != "sig":
        return None
    kid = jwk.get("kid", "")
    try:
        if not isinstance(kid, str) or "verify" not in jwk.get("key_ops", ["verify"]):
            return None
        key = jwt.PyJWK(dict(jwk))
        algorithms = _algorithms_of(key.key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if "alg" in jwk:
        algorithms &= {key.algorithm_name}
    return Key(algorithms, key.key, kid) if algorithms else None


def _public_key(pem: str) -> Key:
    try:
        material = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("one of them is not a public key") from None
    return Key(_algorithms_of(material), material)


def _algorithms_of(material: object) -> frozenset[str]:
    if isinstance(material, RSAPublicKey) and material.key_size >= SHORTEST_RSA_BITS:
        return RSA
    if isinstance(material, EllipticCurvePublicKey) and type(material.curve) in ECDSA:
        return frozenset({ECDSA[type(material.curve)]})
    if isinstance(material, Ed25519PublicKey):
        return frozenset({"EdDSA"})
    raise ValueError(
        f"give RSA keys of {SHORTEST_RSA_BITS} bits or more, ECDSA keys on P-256, P-384 or P-521, or Ed25519"
    )
