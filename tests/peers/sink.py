"""An SMTP server that keeps what it gets, for tests.

    python sink.py DIRECTORY

Listens on a free port of loopback and prints it. Mail N becomes DIRECTORY/N.eml, the octets of DATA with its dots
unstuffed, and before that DIRECTORY/N.json, the arguments of MAIL and RCPT as they came over the wire. While there is a
file DIRECTORY/refuse with, say, "RCPT 550 5.1.1 nobody here", that command (MAIL, RCPT or DATA's end) is answered so.
"""

import asyncio
import itertools
import json
import os
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, directory):
        self.directory = directory
        self.numbers = itertools.count(1)

    def refusal(self, command):
        try:
            with open(f"{self.directory}/refuse", encoding="ascii") as file:
                which, reply = file.read().strip().split(" ", 1)
        except FileNotFoundError:
            return None
        return reply if which == command else None

    async def handle_MAIL(self, server, session, envelope, address, options):
        if refusal := self.refusal("MAIL"):
            return refusal
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if refusal := self.refusal("RCPT"):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        if refusal := self.refusal("DATA"):
            return refusal
        path = f"{self.directory}/{next(self.numbers)}"
        with open(f"{path}.json", "w", encoding="ascii") as file:
            json.dump(server.wire, file)
        with open(f"{path}.tmp", "wb") as file:
            file.write(envelope.content)
        os.rename(f"{path}.tmp", f"{path}.eml")
        return "250 2.0.0 kept"


class Server(SMTP):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.wire = {"MAIL": [], "RCPT": []}

    async def smtp_MAIL(self, arg):
        self.wire["MAIL"].append(arg)
        await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg):
        self.wire["RCPT"].append(arg)
        await super().smtp_RCPT(arg)


async def main():
    handler = Handler(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(
        lambda: Server(handler, hostname="sink.test"), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
