"""A real mail server (aiosmtpd) with TLS and a login. Says its port, then every mail, as lines of JSON.

Arguments: mode (starttls or tls), certificate, key. It ends when its standard input does, so it cannot outlive its test.
"""

import asyncio
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

# Failed handshakes and the plain-looking login are what the tests are about, not news.
logging.disable()
warnings.simplefilter("ignore")


class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        refusals = {
            "bad": "550 5.1.1 no such user",
            "sender": f"553 5.7.1 <{envelope.mail_from}>: Sender address rejected: not owned by user fo",
            "relay": "554 relay access denied",
            "grey": "451 4.7.1 greylisted, try again later",
            "closing": "421 4.3.2 shutting down",
        }
        who = address.split("@")[0]
        if who in refusals:
            if who == "closing":
                asyncio.get_running_loop().call_soon(server.transport.close)
            return refusals[who]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "to": envelope.rcpt_tos,
            "content": envelope.content.decode(),
            "encrypted": session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            "login": session.authenticated,
        }
        print(json.dumps(mail), flush=True)
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"fo", b"right")
    return AuthResult(success=right, handled=False)


async def main(mode, certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    wrapped = mode == "tls"

    def session():
        return SMTP(
            Keep(),
            hostname="localhost",
            authenticator=login,
            auth_required=True,
            # Inside a TLS connection the library cannot see that there is TLS, and would forbid the login.
            auth_require_tls=not wrapped,
            tls_context=None if wrapped else context,
            require_starttls=not wrapped,
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=context if wrapped else None
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main(*sys.argv[1:]))
