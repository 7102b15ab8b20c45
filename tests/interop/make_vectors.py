#!/usr/bin/env python3
"""Makes docs/vectors.json with python-cwt, pycose and cryptography, without the program under test.

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install -r requirements.txt
    /tmp/peer/bin/python make_vectors.py            writes docs/vectors.json
    /tmp/peer/bin/python make_vectors.py --check    status 1 if that would change it

Deterministic: keys from keys/, fixed times, nonces that are digests of the vectors' names.

Good containers are python-cwt's, and pycose reads every one whose algorithm it knows. Bad ones are
written octet by octet below, because no library writes them; wherever the expected reason is
`form`, signature or MAC over the bad form is right, so that nothing but the form is wrong. The same
hand-written code must give python-cwt's octets for the good ones, or this script stops.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import zlib

import cbor2
import pycose.headers
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cwt import COSE
from pycose.keys import OKPKey, SymmetricKey
from pycose.messages import CoseMessage

import peer
from peer import ANSWER_AAD, ED25519, EDDSA, HMAC, REQUEST_AAD

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(ROOT, "docs", "vectors.json")

ISSUED = 1767225600  # 2026-01-01T00:00:00Z
EXPIRES = ISSUED + 3600
HOST = "web1.example.com"
OUTPUT = b" 00:00:02 up 3 days,  4:05,  0 users,  load average: 0.00, 0.01, 0.00\n"


def key_file(name):
    return os.path.join(ROOT, "keys", name)


def read(name):
    with open(key_file(name), "rb") as file:
        return file.read()


def seed_of(name):
    raw = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
    key = serialization.load_ssh_private_key(read(name), None)
    return key.private_bytes(*raw, serialization.NoEncryption())


def point_of(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


EXAMPLE, HOST_SEED = seed_of("example_ed25519"), seed_of("example_host_ed25519")
SECRET = base64.b64decode(read("example.secret"))
# kid -> file of the secret half, file of the half that checks
KEYS = {
    "example": ("example_ed25519", "example_ed25519.pub"),
    "pager": ("example.secret", "example.secret"),
    HOST: ("example_host_ed25519", "example_host_ed25519.pub"),
}


# --- CBOR by hand (RFC 8949 section 3); an item is its octets


def head(major, value, width=None):
    if width is None:
        if value < 24:
            return bytes([major << 5 | value])
        width = next(w for w in (1, 2, 4, 8) if value < 1 << 8 * w)
    info = {1: 24, 2: 25, 4: 26, 8: 27}[width]
    return bytes([major << 5 | info]) + value.to_bytes(width, "big")


def integer(value):
    return head(0, value) if value >= 0 else head(1, -1 - value)


def octets(value):
    return head(2, len(value)) + value


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return head(3, len(value)) + value


def array(*items):
    return head(4, len(items)) + b"".join(items)


def pairs(*items):
    return head(5, len(items) // 2) + b"".join(items)


def whole(pairs_of_items):
    return pairs(*[item for pair in pairs_of_items for item in pair])


FALSE, TRUE, NULL, UNDEFINED, BREAK = b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xff"
HUGE = 2**64 - 1


# --- containers by hand (RFC 9052 sections 4.4 and 6.3)


def protected(kid="example", alg=EDDSA):
    kid = kid.encode() if isinstance(kid, str) else kid
    return pairs(integer(1), integer(alg), integer(4), octets(kid))


def sign(to_sign, seed=EXAMPLE):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(to_sign)


def mac(to_mac, secret=SECRET):
    return hmac.new(secret, to_mac, hashlib.sha256).digest()


def to_be_sealed(prot, payload, aad=REQUEST_AAD, context="Signature1"):
    return array(text(context), octets(prot), octets(aad), octets(payload))


def sign1(
    payload,
    prot=None,
    *,
    aad=REQUEST_AAD,
    seed=EXAMPLE,
    context="Signature1",
    start=b"\xd2\x84",
    prot_item=None,
    unprotected=b"\xa0",
    payload_item=None,
    proof=lambda proof: octets(proof),
    end=b"",
):
    prot = protected() if prot is None else prot
    good = sign(to_be_sealed(prot, payload, aad, context), seed)
    return b"".join(
        [
            start,
            octets(prot) if prot_item is None else prot_item,
            unprotected,
            octets(payload) if payload_item is None else payload_item,
            proof(good),
            end,
        ]
    )


def mac0(
    payload,
    prot=None,
    *,
    aad=REQUEST_AAD,
    secret=SECRET,
    context="MAC0",
    start=b"\xd1\x84",
    unprotected=b"\xa0",
    payload_item=None,
    proof=lambda proof: octets(proof),
    end=b"",
):
    prot = protected("pager", HMAC) if prot is None else prot
    good = mac(to_be_sealed(prot, payload, aad, context), secret)
    payload_item = octets(payload) if payload_item is None else payload_item
    return start + octets(prot) + unprotected + payload_item + proof(good) + end


# --- claims by hand


def nonce(name, length=16):
    return hashlib.sha256(b"netsysrq-mail vector " + name.encode()).digest()[:length]


def plain(name):
    """The claims of a plain request, as pairs of items; each bad one below changes one of them."""
    return {
        "aud": (integer(3), text("web1")),
        "exp": (integer(4), integer(EXPIRES)),
        "iat": (integer(6), integer(ISSUED)),
        "cti": (integer(7), octets(nonce(name))),
        "cmd": (text("cmd"), array(text("restart"), text("nginx"))),
    }


def with_value(claim, item):
    return lambda name: whole({**plain(name), claim: (plain(name)[claim][0], item)}.values())


def with_more(*more):
    return lambda name: whole([*plain(name).values(), *more])


def without(claim):
    return lambda name: whole([pair for key, pair in plain(name).items() if key != claim])


def with_key(claim, key):
    return lambda name: whole({**plain(name), claim: (key, plain(name)[claim][1])}.values())


def reframed(start, end=b""):
    return lambda name: start + b"".join(k + v for k, v in plain(name).values()) + end


def payload_of(name):
    return whole(plain(name).values())


FIVE = b"\x81\x81\x81\x80"  # an array nested in the map of claims, its fifth level in the innermost

BAD_CLAIMS = {
    # twice
    "claim_twice_alike": with_more((integer(4), integer(EXPIRES))),
    "claim_twice_with_other_value": with_more((integer(4), integer(EXPIRES + 1))),
    "cmd_twice": with_more((text("cmd"), array(text("ping")))),
    "dry_twice": with_more((text("dry"), TRUE), (text("dry"), FALSE)),
    # indefinite lengths
    "claims_in_indefinite_map": reframed(b"\xbf", BREAK),
    "cmd_in_indefinite_array": with_value("cmd", b"\x9f" + text("ping") + BREAK),
    "cmd_word_in_indefinite_text": with_value("cmd", array(b"\x7f" + text("ping") + BREAK)),
    "aud_in_indefinite_text": with_value("aud", b"\x7f" + text("we") + text("b1") + BREAK),
    "cti_in_indefinite_octets": with_value("cti", b"\x5f" + octets(bytes(16)) + BREAK),
    # longer than needed
    "exp_in_eight_octets": with_value("exp", head(0, EXPIRES, 8)),
    "iat_in_eight_octets": with_value("iat", head(0, ISSUED, 8)),
    "claim_key_in_two_octets": with_key("aud", head(0, 3, 1)),
    "claims_map_length_in_two_octets": reframed(head(5, 5, 1)),
    "cmd_array_length_in_two_octets": with_value("cmd", head(4, 1, 1) + text("ping")),
    "cmd_word_length_in_three_octets": with_value("cmd", array(head(3, 4, 2) + b"ping")),
    "cti_length_in_two_octets": with_value("cti", head(2, 16, 1) + bytes(16)),
    # types that are not in the format
    "exp_double_float": with_value("exp", cbor2.dumps(float(EXPIRES))),
    "exp_float_with_fraction": with_value("exp", cbor2.dumps(EXPIRES + 0.5)),
    "iat_half_float": with_value("iat", b"\xf9\x3c\x00"),
    "exp_bignum": with_value("exp", b"\xc2" + octets(EXPIRES.to_bytes(8, "big"))),
    "exp_tagged_as_epoch": with_value("exp", b"\xc1" + integer(EXPIRES)),
    "claims_tagged_as_cwt": lambda name: b"\xd8\x3d" + payload_of(name),
    "dry_null": with_more((text("dry"), NULL)),
    "dry_undefined": with_more((text("dry"), UNDEFINED)),
    "dry_number": with_more((text("dry"), integer(1))),
    "dry_text": with_more((text("dry"), text("true"))),
    "dry_simple_value": with_more((text("dry"), b"\xf8\xff")),
    # ends and depths
    "octets_behind_the_claims": lambda name: payload_of(name) + b"\x00",
    "second_map_behind_the_claims": lambda name: payload_of(name) + payload_of(name),
    "claims_cut_short": lambda name: payload_of(name)[:-1],
    "claims_empty": lambda name: b"",
    "claims_an_empty_map": lambda name: pairs(),
    "claims_an_array": lambda name: array(
        *[item for pair in plain(name).values() for item in pair]
    ),
    "nesting_of_five": with_value("cmd", b"\x81" + FIVE),
    "nesting_of_four": with_value("cmd", FIVE),
    "claims_map_of_huge_length": reframed(head(5, HUGE)),
    "cmd_array_of_huge_length": with_value("cmd", head(4, HUGE) + text("ping")),
    "cmd_word_of_huge_length": with_value("cmd", array(head(3, HUGE) + b"ping")),
    "cti_of_huge_length": with_value("cti", head(2, HUGE) + bytes(16)),
    # missing and unknown
    **{f"{claim}_missing": without(claim) for claim in ("aud", "exp", "iat", "cti", "cmd")},
    "issuer_present": with_more((integer(1), text("alice"))),
    "subject_present": with_more((integer(2), text("alice"))),
    "not_before_present": with_more((integer(5), integer(ISSUED))),
    "unknown_claim_number": with_more((integer(99), integer(1))),
    "unknown_private_claim_number": with_more((integer(-70000), integer(1))),
    "unknown_claim_name": with_more((text("sudo"), TRUE)),
    "aud_by_name": with_key("aud", text("aud")),
    "cmd_key_in_octets": with_key("cmd", octets(b"cmd")),
    "dry_in_capitals": with_more((text("DRY"), TRUE)),
    # aud
    "aud_an_array": with_value("aud", array(text("web1"), text("web2"))),
    "aud_octets": with_value("aud", octets(b"web1")),
    "aud_empty": with_value("aud", text("")),
    "aud_null": with_value("aud", NULL),
    "aud_not_utf8": with_value("aud", text(b"web\xff")),
    # exp and iat
    "exp_negative": with_value("exp", integer(-1)),
    "exp_of_two_to_the_33": with_value("exp", integer(2**33)),
    "exp_of_two_to_the_63": with_value("exp", integer(2**63)),
    "exp_largest_number": with_value("exp", integer(HUGE)),
    "exp_text": with_value("exp", text(str(EXPIRES))),
    "exp_true": with_value("exp", TRUE),
    "iat_negative": with_value("iat", integer(-1)),
    "iat_most_negative": with_value("iat", head(1, HUGE)),
    "iat_equal_to_exp": with_value("iat", integer(EXPIRES)),
    "iat_after_exp": with_value("iat", integer(EXPIRES + 1)),
    # cti
    "cti_empty": with_value("cti", octets(b"")),
    "cti_of_seven_octets": with_value("cti", octets(bytes(range(7)))),
    "cti_of_33_octets": with_value("cti", octets(bytes(range(33)))),
    "cti_text": with_value("cti", text("0123456789abcdef")),
    # cmd
    "cmd_empty": with_value("cmd", array()),
    "cmd_text": with_value("cmd", text("ping")),
    "cmd_a_map": with_value("cmd", pairs(text("ping"), text(""))),
    "cmd_word_a_number": with_value("cmd", array(text("last"), integer(3))),
    "cmd_word_octets": with_value("cmd", array(octets(b"ping"))),
    "cmd_word_null": with_value("cmd", array(text("ping"), NULL)),
    "cmd_word_an_array": with_value("cmd", array(array(text("ping")))),
    "cmd_word_not_utf8": with_value("cmd", array(text(b"ping\xff"))),
    "cmd_word_overlong_utf8": with_value("cmd", array(text(b"ping\xc0\x80"))),
    "cmd_word_surrogate": with_value("cmd", array(text(b"ping\xed\xa0\x80"))),
    "cmd_word_cut_utf8": with_value("cmd", array(text(b"ping\xe2\x82"))),
}

ALG, KID = (integer(1), integer(EDDSA)), (integer(4), octets(b"example"))
BAD_PROTECTED = {
    "alg_twice": whole([ALG, KID, ALG]),
    "kid_twice": whole([ALG, KID, (integer(4), octets(b"other"))]),
    "protected_header_in_indefinite_map": b"\xbf" + b"".join(ALG + KID) + BREAK,
    "protected_map_length_in_two_octets": head(5, 2, 1) + b"".join(ALG + KID),
    "alg_in_two_octets": whole([(integer(1), head(1, 7, 1)), KID]),
    "kid_length_in_two_octets": whole([ALG, (integer(4), head(2, 7, 1) + b"example")]),
    "octets_behind_the_protected_header": whole([ALG, KID]) + b"\x00",
    "protected_header_empty": b"",
    "protected_header_an_empty_map": pairs(),
    "protected_header_an_array": array(*ALG, *KID),
    "alg_missing": whole([KID]),
    "kid_missing": whole([ALG]),
    "kid_empty": whole([ALG, (integer(4), octets(b""))]),
    "kid_text": whole([ALG, (integer(4), text("example"))]),
    "kid_in_indefinite_octets": whole([ALG, (integer(4), b"\x5f" + octets(b"example") + BREAK)]),
    "crit_present": whole([ALG, (integer(2), array(integer(1))), KID]),
    "crit_empty": whole([ALG, (integer(2), array()), KID]),
    "content_type_present": whole([ALG, (integer(3), integer(61)), KID]),
    "iv_present": whole([ALG, KID, (integer(5), octets(bytes(8)))]),
    "iv_empty": whole([ALG, KID, (integer(5), octets(b""))]),
    "cwt_claims_header_present": whole([ALG, KID, (integer(15), pairs())]),
    "unknown_header_present": whole([ALG, KID, (text("x"), integer(1))]),
    "alg_by_name": whole([(integer(1), text("EdDSA")), KID]),
    "alg_es256": protected(alg=-7),
    "alg_ed448": protected(alg=-53),
    "alg_hmac_in_a_signature": protected(alg=HMAC),
    "alg_unassigned": protected(alg=-70001),
    "alg_bignum": whole([(integer(1), b"\xc3" + octets(b"\x07")), KID]),
    "header_of_huge_length": head(5, HUGE) + b"".join(ALG + KID),
}

BAD_UNPROTECTED = {
    "alg_repeated_in_unprotected": whole([ALG]),
    "kid_repeated_in_unprotected": whole([KID]),
    "unprotected_not_empty": pairs(text("x"), integer(1)),
    "unprotected_with_empty_kid": pairs(integer(4), octets(b"")),
    "unprotected_with_empty_crit": pairs(integer(2), array()),
    "unprotected_with_empty_countersignatures": pairs(integer(7), array()),
    "unprotected_in_indefinite_map": b"\xbf" + BREAK,
    "unprotected_map_length_in_two_octets": head(5, 0, 1),
    "unprotected_null": NULL,
    "unprotected_an_array": array(),
    "unprotected_nesting_of_five": pairs(integer(99), FIVE),
    "unprotected_with_float": pairs(integer(99), b"\xfb" + bytes(8)),
}


FIRST, REST = slice(0, 32), slice(32, None)
BAD_CONTAINERS = {
    "no_tag": lambda p: sign1(p, start=b"\x84"),
    "cwt_tag_alone": lambda p: sign1(p, start=b"\xd8\x3d\x84"),
    "cwt_tag_around": lambda p: sign1(p, start=b"\xd8\x3d\xd2\x84"),
    "tag_18_in_two_octets": lambda p: sign1(p, start=b"\xd8\x12\x84"),
    "tag_18_twice": lambda p: sign1(p, start=b"\xd2\xd2\x84"),
    "tag_of_self_described_cbor": lambda p: sign1(p, start=b"\xd9\xd9\xf7\xd2\x84"),
    "tag_of_encrypt0": lambda p: sign1(p, start=b"\xd0\x84"),
    "tag_of_mac0_on_a_signature": lambda p: sign1(p, start=b"\xd1\x84"),
    "tag_of_sign_with_many_signers": lambda p: sign1(p, start=b"\xd8\x62\x84"),
    "array_of_three": lambda p: sign1(p, start=b"\xd2\x83", proof=lambda _: b""),
    "array_of_five": lambda p: sign1(p, start=b"\xd2\x85", end=octets(b"")),
    "array_indefinite": lambda p: sign1(p, start=b"\xd2\x9f", end=BREAK),
    "array_length_in_two_octets": lambda p: sign1(p, start=b"\xd2\x98\x04"),
    "array_of_huge_length": lambda p: sign1(p, start=b"\xd2" + head(4, HUGE)),
    "map_for_array": lambda p: sign1(p, start=b"\xd2\xa2"),
    "octets_behind_the_container": lambda p: sign1(p, end=b"\x00"),
    "second_container_behind": lambda p: sign1(p, end=sign1(p)),
    "container_cut_short": lambda p: sign1(p)[:-1],
    "container_empty": lambda p: b"",
    "protected_header_not_wrapped": lambda p: sign1(p, prot_item=protected()),
    "protected_header_in_indefinite_octets": lambda p: sign1(
        p, prot_item=b"\x5f" + octets(protected()) + BREAK
    ),
    "protected_header_length_in_two_octets": lambda p: sign1(
        p, prot_item=head(2, len(protected()), 1) + protected()
    ),
    "kid_in_unprotected_only": lambda p: sign1(p, whole([ALG]), unprotected=whole([KID])),
    "alg_in_unprotected_only": lambda p: sign1(p, whole([KID]), unprotected=whole([ALG])),
    "payload_nil": lambda p: sign1(p, payload_item=NULL),
    "payload_text": lambda p: sign1(p, payload_item=head(3, len(p)) + p),
    "payload_not_wrapped": lambda p: sign1(p, payload_item=p),
    "payload_in_indefinite_octets": lambda p: sign1(p, payload_item=b"\x5f" + octets(p) + BREAK),
    "payload_length_in_three_octets": lambda p: sign1(p, payload_item=head(2, len(p), 2) + p),
    "payload_of_huge_length": lambda p: sign1(p, payload_item=head(2, HUGE) + p),
    "signature_of_63_octets": lambda p: sign1(p, proof=lambda s: octets(s[:63])),
    "signature_of_65_octets": lambda p: sign1(p, proof=lambda s: octets(s + b"\x00")),
    "signature_empty": lambda p: sign1(p, proof=lambda s: octets(b"")),
    "signature_nil": lambda p: sign1(p, proof=lambda s: NULL),
    "signature_length_in_three_octets": lambda p: sign1(p, proof=lambda s: head(2, 64, 2) + s),
    "signature_in_indefinite_octets": lambda p: sign1(
        p, proof=lambda s: b"\x5f" + octets(s[FIRST]) + octets(s[REST]) + BREAK
    ),
    "signature_in_an_array": lambda p: sign1(p, proof=lambda s: array(octets(s))),
    "mac_no_tag": lambda p: mac0(p, start=b"\x84"),
    "mac_tag_17_in_two_octets": lambda p: mac0(p, start=b"\xd8\x11\x84"),
    "mac_under_the_tag_of_sign1": lambda p: mac0(p, start=b"\xd2\x84"),
    "mac_under_the_tag_of_mac": lambda p: mac0(p, start=b"\xd8\x61\x84"),
    "mac_cwt_tag_around": lambda p: mac0(p, start=b"\xd8\x3d\xd1\x84"),
    "mac_payload_nil": lambda p: mac0(p, payload_item=NULL),
    "mac_unprotected_not_empty": lambda p: mac0(p, unprotected=pairs(integer(4), octets(b"pager"))),
    "mac_octets_behind_the_container": lambda p: mac0(p, end=b"\x00"),
    "mac_of_31_octets": lambda p: mac0(p, proof=lambda t: octets(t[:31])),
    "mac_of_33_octets": lambda p: mac0(p, proof=lambda t: octets(t + b"\x00")),
    "mac_of_16_octets": lambda p: mac0(p, proof=lambda t: octets(t[:16])),
    "mac_empty": lambda p: mac0(p, proof=lambda t: octets(b"")),
    "mac_hmac_256_64": lambda p: mac0(p, protected("pager", 4), proof=lambda t: octets(t[:8])),
    "mac_hmac_256_64_of_32_octets": lambda p: mac0(p, protected("pager", 4)),
    "mac_alg_of_a_signature": lambda p: mac0(p, protected("pager", EDDSA)),
    "mac_of_claims_with_octets_behind": lambda p: mac0(p + b"\x00"),
    "mac_of_claims_in_long_map": lambda p: mac0(head(5, 5, 1) + p[1:]),
    "mac_of_claims_cut_short": lambda p: mac0(p[:-1]),
}


# --- Ed25519 (RFC 8032 section 5.1), for signatures that no library makes

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P)
    return x % P, y % P


def times(n, point):
    total = (0, 1)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def compressed(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)
MINUS_ONE = (0, P - 1)  # of order 2


def little(octets_):
    return int.from_bytes(octets_, "little")


def with_r_of_mixed_order(to_sign):
    """Good for a verifier that multiplies the equation by 8, and a bad signature to all others."""
    wide = hashlib.sha512(EXAMPLE).digest()
    scalar = little(wide[:32]) & (1 << 254) - 8 | 1 << 254
    assert compressed(times(scalar, BASE)) == point_of(EXAMPLE)
    r = little(hashlib.sha512(wide[32:] + to_sign).digest()) % ORDER
    big_r = compressed(add(times(r, BASE), MINUS_ONE))
    k = little(hashlib.sha512(big_r + point_of(EXAMPLE) + to_sign).digest())
    return big_r + ((r + k * scalar) % ORDER).to_bytes(32, "little")


def with_larger_s(proof):
    return proof[:32] + (little(proof[32:]) + ORDER).to_bytes(32, "little")


def flipped(octets_, at):
    changed = bytearray(octets_)
    changed[at] ^= 1
    return bytes(changed)


def moved(payload):
    good = sign1(payload)
    at = len(good) - 66 - len(payload)
    return good[:at] + payload.replace(b"nginx", b"mysql") + good[-66:]


def by_mixed_order(payload):
    proof = with_r_of_mixed_order(to_be_sealed(protected(), payload))
    return sign1(payload, proof=lambda _: octets(proof))


def proved(proof):
    """A container with this for its signature."""
    return lambda payload: sign1(payload, proof=lambda _: octets(proof))


WRONG_SIGNATURES = {
    "signature_flipped_in_r": lambda p: sign1(p, proof=lambda s: octets(flipped(s, 0))),
    "signature_flipped_in_s": lambda p: sign1(p, proof=lambda s: octets(flipped(s, 32))),
    "signature_with_s_plus_order": lambda p: sign1(p, proof=lambda s: octets(with_larger_s(s))),
    "signature_with_r_of_mixed_order": by_mixed_order,
    "signature_with_r_identity_and_s_zero": proved(compressed((0, 1)) + bytes(32)),
    "signature_with_r_of_order_two_and_s_zero": proved(compressed(MINUS_ONE) + bytes(32)),
    "signature_of_zeros": proved(bytes(64)),
    "signature_of_ones": proved(b"\xff" * 64),
    "signature_by_other_key": lambda p: sign1(p, seed=HOST_SEED),
    "signature_over_answer_aad": lambda p: sign1(p, aad=ANSWER_AAD),
    "signature_over_no_aad": lambda p: sign1(p, aad=b""),
    "signature_over_aad_of_version_2": lambda p: sign1(p, aad=b"netsysrq-mail/2 request"),
    "signature_over_context_signature": lambda p: sign1(p, context="Signature"),
    "signature_over_context_mac0": lambda p: sign1(p, context="MAC0"),
    "signature_over_payload_alone": lambda p: proved(sign(p))(p),
    "signature_moved_to_other_command": moved,
    "signature_moved_to_other_alg": lambda p: sign1(p, prot_item=octets(protected(alg=ED25519))),
    "claims_malformed_and_signature_flipped": lambda p: sign1(
        p + b"\x00", proof=lambda s: octets(flipped(s, 5))
    ),
    "mac_flipped": lambda p: mac0(p, proof=lambda t: octets(flipped(t, 31))),
    "mac_of_zeros": lambda p: mac0(p, proof=lambda t: octets(bytes(32))),
    "mac_by_other_secret": lambda p: mac0(p, secret=bytes(32)),
    "mac_by_public_key": lambda p: mac0(p, secret=point_of(EXAMPLE)),
    "mac_over_answer_aad": lambda p: mac0(p, aad=ANSWER_AAD),
    "mac_over_no_aad": lambda p: mac0(p, aad=b""),
    "mac_over_context_mac": lambda p: mac0(p, context="MAC"),
    "mac_over_context_signature1": lambda p: mac0(p, context="Signature1"),
    "mac_is_a_plain_digest": lambda p: mac0(p, proof=lambda _: octets(hashlib.sha256(p).digest())),
}


def wrong_signatures():
    """(name, octets): every form is right, but the holder of the key did not make it."""
    for name, make in WRONG_SIGNATURES.items():
        yield name, make(payload_of(name))


def wrong_keys():
    """(name, expect, octets): form and signature are right, but not the key that the kid names."""
    names = {
        "kid_unknown": "nobody",
        "kid_in_capitals": "EXAMPLE",
        "kid_with_nul": "example\0",
        "kid_cut": "exampl",
        "kid_a_path": "../keys/example",
        "kid_not_utf8": b"exampl\xe9",
        "kid_of_33_octets": "e" * 33,
        "kid_of_the_host": HOST,
    }
    for name, kid in names.items():
        seed = HOST_SEED if kid == HOST else EXAMPLE
        yield name, "unknown-key", sign1(payload_of(name), protected(kid), seed=seed)
    name = "mac_kid_unknown"
    yield name, "unknown-key", mac0(payload_of(name), protected("nobody", HMAC))
    name = "claims_malformed_and_kid_unknown"
    yield name, "unknown-key", sign1(payload_of(name) + b"\x00", protected("nobody"))
    name = "kid_unknown_and_unprotected_not_empty"
    yield name, "form", sign1(payload_of(name), protected("nobody"), unprotected=pairs(*KID))
    name = "signature_under_kid_of_a_secret"
    yield name, "key-type", sign1(payload_of(name), protected("pager"))
    name = "signature_alg_19_under_kid_of_a_secret"
    yield name, "key-type", sign1(payload_of(name), protected("pager", ED25519))
    name = "mac_under_kid_of_a_signer"
    yield name, "key-type", mac0(payload_of(name), protected("example", HMAC))
    name = "mac_by_public_key_under_kid_of_a_signer"
    yield name, "key-type", mac0(
        payload_of(name), protected("example", HMAC), secret=point_of(EXAMPLE)
    )


# --- good ones, by python-cwt


def requests():
    """(name, kid, alg, changes): what changes in a plain request."""
    arguments = [
        "note",
        "",
        " spaced  out ",
        "gr\u00fc\u00dfe \u2603 \U0001f680",
        "-n",
        "a'b\"c\\d",
    ]
    yield "ping", "example", EDDSA, {"cmd": ["ping"]}
    yield "poweroff_safe", "example", EDDSA, {"cmd": ["poweroff-safe"]}
    yield "restart_nginx", "example", EDDSA, {}
    yield "restart_nginx_by_full_name", "example", EDDSA, {3: HOST}
    yield "sysrq_sub", "example", EDDSA, {"cmd": ["sysrq", "sub"]}
    yield "alg_19", "example", ED25519, {}
    yield "alg_19_dry", "example", ED25519, {"dry": True}
    yield "dry", "example", EDDSA, {"dry": True}
    yield "dry_false", "example", EDDSA, {"dry": False}
    yield "arguments_of_every_kind", "example", EDDSA, {"cmd": arguments}
    yield "to_a_group", "example", EDDSA, {3: "web"}
    yield "cti_of_eight_octets", "example", EDDSA, {7: nonce("cti_of_eight_octets", 8)}
    yield "cti_of_32_octets", "example", EDDSA, {7: nonce("cti_of_32_octets", 32)}
    yield "exp_largest", "example", EDDSA, {4: 2**33 - 1, 6: 2**33 - 2}
    yield "iat_of_zero", "example", EDDSA, {4: 1, 6: 0}
    yield "frame_of_900_symbols", "example", EDDSA, {"cmd": ["note", "x" * 420]}
    yield "mac_ping", "pager", HMAC, {"cmd": ["ping"]}
    yield "mac_poweroff_safe", "pager", HMAC, {"cmd": ["poweroff-safe"]}
    yield "mac_restart_nginx", "pager", HMAC, {}
    yield "mac_restart_nginx_by_full_name", "pager", HMAC, {3: HOST}
    yield "mac_sysrq_sub", "pager", HMAC, {"cmd": ["sysrq", "sub"]}
    yield "mac_dry", "pager", HMAC, {"dry": True}
    yield "mac_arguments_of_every_kind", "pager", HMAC, {"cmd": arguments}


def answers():
    digest = hashlib.sha256(OUTPUT).digest()
    known = {1: HOST, 2: "example", 6: ISSUED + 2}
    result = {"out": [len(OUTPUT), digest], "stage": "result", "status": 0, "verdict": "run"}
    killed = {"stage": "result", "status": -15, "verdict": "run", "duration": 60001}
    yield "answer_with_output", {**known, 7: nonce("restart_nginx"), **result, "duration": 31}
    yield "answer_notice", {**known, 7: nonce("sysrq_sub"), "stage": "notice", "verdict": "run"}
    yield "answer_of_a_killed_command", {**known, 7: nonce("ping"), **killed}
    yield "answer_of_a_denial", {**known, 7: nonce("dry"), "stage": "result", "verdict": "denied"}


def bad_answers():
    """(name, expect, octets)"""
    known = {1: HOST, 2: "example", 6: ISSUED + 2, 7: nonce("restart_nginx")}
    good = {**known, "stage": "result", "verdict": "run"}
    prot = protected(HOST)

    def of(claims, **kw):
        kw = {"aad": ANSWER_AAD, "seed": HOST_SEED, **kw}
        return sign1(cbor2.dumps(claims), prot, **kw)

    def missing(claim):
        return {key: value for key, value in good.items() if key != claim}

    yield "answer_by_other_key", "signature", of(good, seed=EXAMPLE)
    yield "answer_over_request_aad", "signature", of(good, aad=REQUEST_AAD)
    yield "answer_over_no_aad", "signature", of(good, aad=b"")
    yield "answer_flipped", "signature", of(good, proof=lambda s: octets(flipped(s, 40)))
    yield "answer_of_unknown_host", "unknown-key", sign1(
        cbor2.dumps(good), protected("web2.example.com"), aad=ANSWER_AAD, seed=HOST_SEED
    )
    yield "answer_by_mac", "key-type", mac0(
        cbor2.dumps(good), protected(HOST, HMAC), aad=ANSWER_AAD, secret=point_of(HOST_SEED)
    )
    yield "answer_with_unprotected_header", "form", of(good, unprotected=pairs(*KID))
    for claim in (1, 2, 6, 7, "stage", "verdict"):
        name = peer.CLAIM_NAMES.get(claim, claim)
        yield f"answer_{name}_missing", "form", of(missing(claim))
    yield "answer_in_the_name_of_another_host", "form", of({**good, 1: "web2.example.com"})
    yield "answer_with_short_cti", "form", of({**good, 7: bytes(7)})
    yield "answer_with_aud", "form", of({**good, 3: "example"})
    yield "answer_with_exp", "form", of({**good, 4: EXPIRES})
    yield "answer_with_unknown_claim", "form", of({**good, "note": "trust me"})
    yield "answer_status_float", "form", of({**good, "status": 0.0})
    yield "answer_duration_negative", "form", of({**good, "duration": -1})
    yield "answer_out_of_one", "form", of({**good, "out": [10]})
    yield "answer_out_digest_of_31_octets", "form", of({**good, "out": [10, bytes(31)]})
    yield "answer_out_length_negative", "form", of({**good, "out": [-1, bytes(32)]})
    yield "answer_out_digest_text", "form", of({**good, "out": [10, "0" * 32]})


# --- the texts of frames


def mangled(frame):
    """What mail does to a frame, and a reader undoes."""
    lines = frame.splitlines()
    inner = " ".join(lines[1:-1])
    spare = lines[-2][:-1] + peer.SYMBOLS[peer.SYMBOLS.index(lines[-2][-1]) | 1]
    return {
        "text_in_capitals": frame.upper(),
        "text_in_one_line": f"netsysrqbegin{inner.replace(' ', '')}netsysrqend",
        "text_with_crlf": frame.replace("\n", "\r\n"),
        "text_quoted": "".join(f"> {line}\n" for line in lines),
        "text_quoted_twice": "".join(f"> > {line}\n" for line in lines),
        "text_quoted_with_initials": "".join(f"JD> {line}\n" for line in lines),
        "text_quoted_below_itself": frame + "\nBob wrote:\n" + "".join(f"> {x}\n" for x in lines),
        "text_with_look_alikes": frame.replace("1", "l").replace("0", "O"),
        "text_with_no_break_spaces": frame.replace(" ", "\u00a0"),
        "text_with_zero_width_spaces": frame.replace(" ", " \u200b\u00ad"),
        "text_full_width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in frame),
        "text_url_escaped": frame.replace(" ", "%20").replace("\n", "%0A"),
        "text_quoted_printable_twice": frame.replace(" ", "=20").replace("\n", "=0A"),
        "text_without_end_line": "\n".join(lines[:-1]),
        "text_with_footer": "Hello,\n\n" + frame + "--\nSent from my 1st telephone\n",
        "text_with_marker_in_stars": frame.replace("netsysrq begin", "*netsysrq* -- 'begin':"),
        "text_with_spare_bit_set": "\n".join([*lines[:-2], spare, lines[-1], ""]),
    }


def damaged_texts(cose):
    """(name, expect, text)"""
    good = peer.frame(cose)
    lines = good.splitlines()
    symbols = peer.symbols_of(peer.counted(cose))
    counted = peer.counted(cose)

    def text_of(octets_):
        return peer.lines_of(peer.symbols_of(octets_))

    def crc_of(octets_):
        return octets_[:-4] + zlib.crc32(octets_[:-4]).to_bytes(4, "big")

    flip = "1" if symbols[60] != "1" else "2"
    yield "symbol_changed", "damaged", peer.lines_of(symbols[:60] + flip + symbols[61:])
    yield "symbol_lost", "damaged", peer.lines_of(symbols[:60] + symbols[61:])
    yield "symbol_twice", "damaged", peer.lines_of(symbols[:60] + symbols[59] + symbols[60:])
    yield "line_lost", "damaged", "\n".join(lines[:2] + lines[3:])
    yield "cut_behind_third_line", "damaged", "\n".join(lines[:3])
    yield "marker_alone", "damaged", "netsysrq begin\nnetsysrq end\n"
    yield "lines_swapped", "damaged", "\n".join([lines[0], lines[2], lines[1], *lines[3:]])
    yield "version_0", "damaged", text_of(peer.counted(cose, 0))
    yield "version_2", "damaged", text_of(peer.counted(cose, 2))
    yield "crc_little_endian", "damaged", text_of(counted[:-4] + counted[-4:][::-1])
    yield "crc_over_body_alone", "damaged", text_of(
        counted[:-4] + zlib.crc32(cose).to_bytes(4, "big")
    )
    yield "crc_of_zero", "damaged", text_of(counted[:-4] + bytes(4))
    yield "length_little_endian", "damaged", text_of(
        crc_of(counted[:1] + counted[1:3][::-1] + counted[3:])
    )
    yield "length_too_small", "damaged", text_of(
        crc_of(counted[:1] + (len(cose) - 1).to_bytes(2, "big") + counted[3:])
    )
    yield "length_too_large", "damaged", text_of(crc_of(counted[:1] + b"\xff\xff" + counted[3:]))
    yield "frame_of_901_symbols", "damaged", text_of(peer.counted(bytes(556)))
    yield "no_marker", "no-frame", "\n".join(lines[1:-1])
    yield "end_line_alone", "no-frame", "\n".join(lines[1:])
    yield "marker_words_swapped", "no-frame", good.replace("netsysrq begin", "begin netsysrq")
    yield "marker_with_letters_between", "no-frame", good.replace(" begin", " will begin")
    yield "marker_of_an_answer", "no-frame", peer.frame(cose, "netsysrq answer")


# --- putting them together

WORDS = {"request": "netsysrq", "answer": "netsysrq answer"}


def vector(name, kind, cose, expect, frame=None):
    made = {"name": name, "kind": kind, "expect": expect}
    if cose is not None:
        made["cose"] = cose.hex()
        if frame is None:
            frame = peer.frame(cose, WORDS[kind])
            made["symbols"] = len(peer.symbols_of(peer.counted(cose)))
    made["frame"] = frame
    return made


def good_vector(name, kind, kid, alg, claims):
    aad = {"request": REQUEST_AAD, "answer": ANSWER_AAD}[kind]
    secret, public = KEYS[kid]
    key = peer.private_key(key_file(secret), alg, kid.encode())
    cose = peer.sealed(claims, key, alg, kid.encode(), aad)
    by_hand = {
        "example": lambda p: sign1(p, protected(kid, alg), aad=aad),
        "pager": lambda p: mac0(p, aad=aad),
        HOST: lambda p: sign1(p, protected(kid, alg), aad=aad, seed=HOST_SEED),
    }[kid]
    assert by_hand(cbor2.dumps(claims)) == cose, name
    return verified(name, kind, kid, cose, public)


def verified(name, kind, kid, cose, public, frame=None):
    aad = {"request": REQUEST_AAD, "answer": ANSWER_AAD}[kind]
    named, claims = peer.opened(cose, key_file(public), aad)
    assert named == kid.encode() and pycose_agrees(cose, kid, aad), name
    made = vector(name, kind, cose, "verified", frame)
    assert peer.bodies(made["frame"], WORDS[kind]) == [cose], name
    return {**made, "kid": kid, "claims": claims}


def pycose_agrees(cose, kid, aad):
    if cbor2.loads(cbor2.loads(cose).value[0])[1] == ED25519:
        return True  # pycose 1.1.0 does not know algorithm -19
    message = CoseMessage.decode(cose)
    assert message.phdr[pycose.headers.KID] == kid.encode()
    message.external_aad = aad
    if kid == "pager":
        message.key = SymmetricKey(k=SECRET)
        return message.verify_tag()
    seed = HOST_SEED if kid == HOST else EXAMPLE
    message.key = OKPKey(crv="ED25519", x=point_of(seed), optional_params={"ALG": "EDDSA"})
    return message.verify_signature()


def cwt_takes(cose, aad):
    header = cbor2.loads(cbor2.loads(cose).value[0])
    alg, kid = header[1], header[4]
    _, public = KEYS[kid.decode()]
    try:
        key = peer.check_key(key_file(public), alg, kid)
        COSE.new().decode_with_headers(cose, key, external_aad=aad)
    except Exception:  # python-cwt has no base class for what it raises
        return False
    return True


def reordered():
    """Good requests whose maps are in an order other than the one that we write."""
    name = "claims_in_reverse_order"
    payload = whole([*reversed(plain(name).values())])
    yield verified(name, "request", "example", sign1(payload), "example_ed25519.pub")
    name = "mac_claims_in_reverse_order"
    yield verified(
        name, "request", "pager", mac0(whole([*reversed(plain(name).values())])), "example.secret"
    )
    name = "header_in_reverse_order"
    cose = sign1(payload_of(name), whole([KID, ALG]))
    yield verified(name, "request", "example", cose, "example_ed25519.pub")


def good_vectors():
    for name, kid, alg, changes in requests():
        known = {3: "web1", 4: EXPIRES, 6: ISSUED, 7: nonce(name), "cmd": ["restart", "nginx"]}
        yield good_vector(name, "request", kid, alg, {**known, **changes})
    yield from reordered()
    for name, claims in answers():
        yield good_vector(name, "answer", HOST, EDDSA, claims)


def text_vectors(good):
    cose = bytes.fromhex(good["cose"])
    for name, text_ in mangled(good["frame"]).items():
        yield verified(name, "request", "example", cose, "example_ed25519.pub", text_)
    for name, expect, text_ in damaged_texts(cose):
        assert peer.bodies(text_) == [], name
        yield vector(name, "request", None, expect, text_)


def bad_vectors():
    for name, claims in BAD_CLAIMS.items():
        cose = sign1(claims(name))
        assert cwt_takes(cose, REQUEST_AAD), name  # which looks at no claim
        yield vector(name, "request", cose, "form")
    for name, prot in BAD_PROTECTED.items():
        yield vector(name, "request", sign1(payload_of(name), prot), "form")
    for name, unprotected in BAD_UNPROTECTED.items():
        cose = sign1(payload_of(name), unprotected=unprotected)
        yield vector(name, "request", cose, "form")
    for name, make in BAD_CONTAINERS.items():
        yield vector(name, "request", make(payload_of(name)), "form")
    for name, cose in wrong_signatures():
        assert not cwt_takes(cose, REQUEST_AAD), name
        yield vector(name, "request", cose, "signature")
    for name, expect, cose in wrong_keys():
        yield vector(name, "request", cose, expect)
    for name, expect, cose in bad_answers():
        assert expect != "signature" or not cwt_takes(cose, ANSWER_AAD), name
        yield vector(name, "answer", cose, expect)


def mixed_order_is_refused_by_openssl():
    public = Ed25519PrivateKey.from_private_bytes(EXAMPLE).public_key()
    try:
        public.verify(with_r_of_mixed_order(b"m"), b"m")
    except InvalidSignature:
        return True
    return False


def main():
    assert mixed_order_is_refused_by_openssl()
    good = list(good_vectors())
    worked = next(vector for vector in good if vector["name"] == "restart_nginx")
    vectors = [*good, *text_vectors(worked), *bad_vectors()]
    names = [vector["name"] for vector in vectors]
    assert len(names) == len(set(names)), "a name stands twice"
    document = {
        "about": "Test vectors for docs/protocol.md, made by tests/interop/make_vectors.py: "
        "python-cwt, pycose and cryptography, no code of netsysrq-mail.",
        "keys": {kid: f"keys/{public}" for kid, (_, public) in KEYS.items()},
        "aad": {"request": REQUEST_AAD.decode(), "answer": ANSWER_AAD.decode()},
        "output": OUTPUT.decode(),
        "vectors": vectors,
    }
    text_ = json.dumps(document, indent=1, ensure_ascii=True) + "\n"
    if sys.argv[1:] == ["--check"]:
        with open(OUT, encoding="ascii") as file:
            sys.exit(file.read() != text_)
    with open(OUT, "w", encoding="ascii") as file:
        file.write(text_)
    for made in vectors:
        if made["expect"] == "verified" and "symbols" in made:
            print(f"{made['symbols']:4} symbols  {made['name']}")
    for expect in sorted({made["expect"] for made in vectors}):
        print(f"{sum(made['expect'] == expect for made in vectors):4} {expect}")


if __name__ == "__main__":
    main()
