"""Keys from the settings: what each of them may verify, and that nothing is ever taken for another kind."""

from __future__ import annotations

import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.exceptions import ImproperlyConfigured

from realtime.conf import Conf
from realtime.delivery.centrifuge.keys import key_of_jwk, public_keys, secret_key, take_apart
from realtime.delivery.centrifuge.tokens import Tokens
from realtime.errors import InvalidToken

from .signing import KINDS, SECRET, forged, jwk, private_pem, public_pem, signed


@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
async def test_a_public_key_is_never_an_hmac_secret(kind: str) -> None:
    """The attack: a public key is known to everybody, and so is what an HMAC with it as the secret gives."""
    pem = public_pem(kind)
    both = Tokens((secret_key(SECRET), *public_keys(pem)))
    for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "x"}, {"alg": KINDS_OF[kind]}):
        for known in (pem, pem.strip()):
            with pytest.raises(InvalidToken):
                await both.connection(forged(header, {"sub": "42"}, known.encode()))


KINDS_OF = {kind: algorithm for algorithm, kind in KINDS.items()}


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS1", "PS256", "ES256K", "RS256"])
async def test_nothing_but_the_named_algorithms_verifies_by_a_secret(algorithm: str) -> None:
    with pytest.raises(InvalidToken):
        await Tokens((secret_key(SECRET),)).connection(forged({"alg": algorithm}, {"sub": "42"}))


async def test_a_token_without_a_signature_is_invalid() -> None:
    header, payload, _ = forged({"alg": "none"}, {"sub": "42"}).split(".")
    with pytest.raises(InvalidToken):
        await Tokens((secret_key(SECRET),)).connection(f"{header}.{payload}.")


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [
        ("rsa", {"RS256", "RS384", "RS512"}),
        ("p256", {"ES256"}),
        ("p384", {"ES384"}),
        ("p521", {"ES512"}),
        ("ed25519", {"EdDSA"}),
    ],
)
def test_a_key_verifies_by_the_algorithms_of_its_kind(kind: str, algorithms: set[str]) -> None:
    assert [key.algorithms for key in public_keys(public_pem(kind))] == [algorithms]
    found = key_of_jwk(jwk(kind, kid="one"))
    assert found is not None
    assert (found.algorithms, found.kid) == (algorithms, "one")


def test_a_named_key_is_taken_for_its_own_tokens_only() -> None:
    key = key_of_jwk(jwk("rsa", kid="one", alg="RS384"))
    assert key is not None
    assert take_apart(signed("RS384", {})).is_signed_by([key])
    assert take_apart(signed("RS384", {}, kid="one")).is_signed_by([key])
    assert not take_apart(signed("RS384", {}, kid="two")).is_signed_by([key])
    assert not take_apart(signed("RS256", {})).is_signed_by([key])


@pytest.mark.parametrize(
    "member",
    [
        None,
        {},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "!", "e": 1},
        jwk("rsa", use="enc"),
        jwk("rsa", kid=7),
        jwk("rsa", alg="HS256"),
        jwk("rsa", alg="PS256"),
        jwk("rsa", alg="RSA-OAEP"),
        jwk("rsa", key_ops=["encrypt"]),
        jwk("rsa", key_ops=7),
        jwk("p256", crv="P-384"),
        jwk("secp256k1"),
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
    ],
)
def test_what_cannot_verify_is_left_out_of_a_jwks(member: object) -> None:
    assert key_of_jwk(member) is None


def test_line_ends_in_pem_may_be_written_out() -> None:
    pem = public_pem("p256") + public_pem("rsa")
    assert len(public_keys(pem.replace("\n", "\\n"))) == 2


def small_rsa_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_public_keys", "MFkwEwYHKoZIzj0CAQ"),
        ("token_public_keys", private_pem("rsa")),
        ("token_public_keys", public_pem("p256") + "MFkwEwYHKoZIzj0CAQ"),
        ("token_public_keys", "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ\n-----END PUBLIC KEY-----"),
        ("token_public_keys", public_pem("secp256k1")),
        ("token_public_keys", small_rsa_pem()),
        ("token_secret", public_pem("rsa")),
        ("token_jwks_url", "ftp://MFkwEwYHKoZIzj0CAQ"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name_but_not_its_value(name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as stop:
        Tokens.of_conf(Conf.model_validate({name: value}))
    assert str(stop.value).startswith(f"HEADWATER_{name.upper()}: ")
    body = value.replace("-----BEGIN PUBLIC KEY-----", "").strip()[:18]
    assert body not in str(stop.value)


async def test_the_settings_make_the_keys() -> None:
    settings = Conf(
        token_secret=SECRET, token_public_keys=public_pem("p256"), token_audience="hub", token_issuer="us"
    )
    made = Tokens.of_conf(settings)
    claims = {"sub": "42", "aud": "hub", "iss": "us"}
    for algorithm in ("HS256", "ES256"):
        assert await made.connection(signed(algorithm, claims))
        with pytest.raises(InvalidToken):
            await made.connection(signed(algorithm, {"sub": "42"}))
    assert SECRET not in repr(settings)


async def test_a_short_secret_works_and_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        short = Tokens((secret_key("secret"),))
    assert "token_secret_short bytes=6" in caplog.text
    assert await short.connection(forged({"alg": "HS256"}, {"sub": "42"}, b"secret"))
