#!/usr/bin/env python3
"""A second implementation of docs/protocol.md, to test the first: it shares no code with src/.

COSE by python-cwt, CBOR by cbor2, keys by cryptography; the frame is written from docs/protocol.md.

    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install -r requirements.txt
    peer.py request --kid K --key FILE --alg eddsa|ed25519|hmac --aud HOST
                    [--iat N] [--ttl N] [--dry] CMD [ARG...]
    peer.py check-request --key FILE < frame        FILE: a public ssh line, or a secret in base64
    peer.py check-answer --key FILE.pub < mail      also takes a bare frame

Exit status: 0 good, 1 not, 2 usage.
"""

import argparse
import base64
import email
import email.policy
import hashlib
import json
import os
import re
import sys
import time
import unicodedata
import zlib

import cbor2
from cryptography.hazmat.primitives import serialization
from cwt import COSE, COSEKey

REQUEST_AAD = b"netsysrq-mail/1 request"
ANSWER_AAD = b"netsysrq-mail/1 answer"

SYMBOLS = "0123456789abcdefghjkmnpqrstvwxyz"
LONGEST = 900
EDDSA, ED25519, HMAC = -8, -19, 5
CLAIM_NAMES = {1: "iss", 2: "sub", 3: "aud", 4: "exp", 5: "nbf", 6: "iat", 7: "cti"}


class Refused(Exception):
    """Not a good frame, container, claims set or output."""


# --- the frame


def symbols_of(octets):
    """Crockford's base32, most significant bit first, zero bits behind the last octet."""
    bits = "".join(f"{octet:08b}" for octet in octets)
    bits += "0" * (-len(bits) % 5)
    return "".join(SYMBOLS[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def octets_of(symbols):
    bits = "".join(f"{SYMBOLS.index(symbol):05b}" for symbol in symbols)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


def counted(body, version=1):
    head = bytes([version]) + len(body).to_bytes(2, "big") + body
    return head + zlib.crc32(head).to_bytes(4, "big")


def lines_of(symbols, words="netsysrq"):
    groups = [symbols[at : at + 5] for at in range(0, len(symbols), 5)]
    lines = [" ".join(groups[at : at + 10]) for at in range(0, len(groups), 10)]
    return "\n".join([f"{words} begin", *lines, f"{words} end", ""])


def frame(body, words="netsysrq"):
    symbols = symbols_of(counted(body))
    if len(symbols) > LONGEST:
        raise Refused("longer than a frame may be")
    return lines_of(symbols, words)


def fold(text):
    return re.sub("[^0-9a-z]", "", unicodedata.normalize("NFKC", text).lower())


def views(text):
    yield text
    prefix = re.compile(r"^\s*[A-Za-z]{0,3}[>|:]")
    lines = []
    for line in text.splitlines():
        while prefix.match(line):
            line = prefix.sub("", line, count=1)
        lines.append(line)
    yield "\n".join(lines)
    octets = re.sub(
        rb"[%=]([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode()
    )
    yield octets.decode(errors="replace")


def bodies(text, words="netsysrq"):
    """Every body whose frame is whole, each once, in order of appearance."""
    marker = re.compile("[0-9]*".join([*words.split(), "begin"]))
    found = []
    for view in views(text):
        folded = fold(view)
        for start in marker.finditer(folded):
            body = body_of(folded[start.end() :])
            if body is not None and body not in found:
                found.append(body)
    return found


def body_of(text):
    text = text.translate(str.maketrans("ilo", "110"))
    symbols = [symbol for symbol in text if symbol in SYMBOLS][:LONGEST]
    head = octets_of(symbols[:5])
    if len(head) < 3 or head[0] != 1:
        return None
    length = int.from_bytes(head[1:3], "big")
    need = -(-(length + 7) * 8 // 5)
    if need > len(symbols):
        return None
    octets = octets_of(symbols[:need])[: length + 7]
    body = octets[3:-4]
    return body if octets == counted(body) else None


def only_body(text, words):
    found = bodies(text, words)
    if len(found) != 1:
        raise Refused(f"{len(found)} frames")
    return found[0]


# --- keys


def private_key(path, alg, kid):
    with open(path, "rb") as file:
        octets = file.read()
    if alg == HMAC:
        return COSEKey.from_symmetric_key(base64.b64decode(octets), alg="HS256", kid=kid)
    key = serialization.load_ssh_private_key(octets, None)
    raw = serialization.Encoding.Raw
    seed = key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    point = key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)
    return COSEKey.new({1: 1, 2: kid, 3: alg, -1: 6, -2: point, -4: seed})


def check_key(path, alg, kid):
    with open(path, "rb") as file:
        octets = file.read()
    if octets.startswith(b"ssh-ed25519 ") != (alg != HMAC):
        raise Refused("the key is of another type than the algorithm")
    if alg == HMAC:
        return COSEKey.from_symmetric_key(base64.b64decode(octets), alg="HS256", kid=kid)
    key = serialization.load_ssh_public_key(octets)
    point = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return COSEKey.new({1: 1, 2: kid, 3: alg, -1: 6, -2: point})


# --- the container


def sealed(claims, key, alg, kid, aad):
    protected = {1: alg, 4: kid}
    payload = cbor2.dumps(claims)
    if alg == HMAC:
        return COSE.new().encode_and_mac(payload, key, protected, {}, external_aad=aad)
    return COSE.new().encode_and_sign(payload, key, protected, {}, external_aad=aad)


def opened(cose, path, aad):
    """The claims, if the key in `path` made this container; header and form are looked at first."""
    try:
        container = cbor2.loads(cose)
        protected = cbor2.loads(container.value[0])
        alg, kid = protected[1], protected[4]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError) as error:
        raise Refused("no container") from error
    kinds = {18: (EDDSA, ED25519), 17: (HMAC,)}
    exact = set(protected) == {1, 4} and container.value[1] == {} and isinstance(kid, bytes)
    if alg not in kinds.get(container.tag, ()) or not exact:
        raise Refused("not a container of ours")
    try:
        _, _, payload = COSE.new().decode_with_headers(
            cose, check_key(path, alg, kid), external_aad=aad
        )
    except Refused:
        raise
    except Exception as error:  # python-cwt has no base class for what it raises
        raise Refused(f"not made with this key: {error}") from error
    claims = cbor2.loads(payload)
    if not isinstance(claims, dict) or cbor2.dumps(claims) != payload:
        raise Refused("claims in another form than the shortest")
    return kid, named(claims)


def named(claims):
    """Claims as JSON can show them: registered names for numbers, hexadecimal for octets."""

    def shown(value):
        if isinstance(value, list):
            return [shown(item) for item in value]
        return value.hex() if isinstance(value, bytes) else value

    return {CLAIM_NAMES.get(name, name): shown(value) for name, value in claims.items()}


# --- the three subcommands


def request(args):
    alg = {"eddsa": EDDSA, "ed25519": ED25519, "hmac": HMAC}[args.alg]
    iat = int(time.time()) if args.iat is None else args.iat
    claims = {3: args.aud, 4: iat + args.ttl, 6: iat, 7: os.urandom(16), "cmd": args.cmd}
    if args.dry:
        claims["dry"] = True
    kid = args.kid.encode()
    cose = sealed(claims, private_key(args.key, alg, kid), alg, kid, REQUEST_AAD)
    sys.stdout.write(frame(cose))


def check_request(args):
    kid, claims = opened(only_body(sys.stdin.read(), "netsysrq"), args.key, REQUEST_AAD)
    required, optional = {"aud", "exp", "iat", "cti", "cmd"}, {"dry"}
    if not required <= set(claims) <= required | optional:
        raise Refused("claims missing or unknown")
    print(json.dumps({"kid": kid.decode(), **claims}))


def check_answer(args):
    mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
    leaves = [part for part in mail.walk() if not part.is_multipart()]
    files = [part for part in leaves if part.is_attachment()]
    texts = [part for part in leaves if part.get_content_type() == "text/plain"]
    text = "\n".join(part.get_content() for part in texts if part not in files)
    kid, claims = opened(only_body(text, "netsysrq answer"), args.key, ANSWER_AAD)
    required = {"iss", "sub", "iat", "cti", "stage", "verdict"}
    optional = {"status", "duration", "out"}
    if not required <= set(claims) <= required | optional or claims["iss"] != kid.decode():
        raise Refused("claims missing or unknown")
    outputs = [part.get_payload(decode=True) for part in files]
    signed = [[len(octets), hashlib.sha256(octets).hexdigest()] for octets in outputs]
    expected = [claims["out"]] if "out" in claims else []
    # a bare frame has no header and brings no output along
    if mail.keys() and signed != expected:
        raise Refused("the output is not the one that was signed")
    print(json.dumps({"kid": kid.decode(), "output_checked": bool(mail.keys()), **claims}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("request")
    verb.set_defaults(run=request)
    verb.add_argument("--kid", required=True)
    verb.add_argument("--key", required=True)
    verb.add_argument("--alg", required=True, choices=["eddsa", "ed25519", "hmac"])
    verb.add_argument("--aud", required=True)
    verb.add_argument("--iat", type=int)
    verb.add_argument("--ttl", type=int, default=3600)
    verb.add_argument("--dry", action="store_true")
    verb.add_argument("cmd", nargs="+")
    for name, run in [("check-request", check_request), ("check-answer", check_answer)]:
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        verb.add_argument("--key", required=True)
    args = parser.parse_args()
    try:
        args.run(args)
    except Refused as refused:
        print(f"{os.path.basename(sys.argv[0])}: {refused}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
