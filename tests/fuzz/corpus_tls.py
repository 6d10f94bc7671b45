#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the seeds of fuzz_tls with Python's ssl module: what clients and servers of several kinds say
first, and what speaks something else. Greetings have random numbers in them, so the bytes differ each
time. Wants the openssl command, for a certificate.

    python3 tests/fuzz/corpus_tls.py [tests/fuzz/corpus/tls]
"""
import os
import ssl
import subprocess
import sys
import tempfile

TO_SERVER, TO_CLIENT, OVER_CLIENTS, OVER_SERVERS = (bytes([i]) for i in range(4))
AT_ONCE, BY_NINE = b"\xff", b"\x01"  # how the stream is cut


def context(server, version, cert=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    c.minimum_version = c.maximum_version = version
    if cert:
        c.load_cert_chain(cert)
    return c


def greet(version, cert):
    """The first flight of a client, and what a server says to it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(False, version).wrap_bio(to_client, to_server)
    server = context(True, version, cert).wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        if side is client:
            first = to_server.read()
            to_server.write(first)
    return first, to_client.read()


def make_cert(folder):
    path = os.path.join(folder, "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=kitchen", "-keyout", path,
                    "-out", path + ".crt"], check=True, stderr=subprocess.DEVNULL)
    with open(path, "a") as f, open(path + ".crt") as g:
        f.write(g.read())
    return path


def seeds():
    with tempfile.TemporaryDirectory() as folder:
        cert = make_cert(folder)
        new_client, new_server = greet(ssl.TLSVersion.TLSv1_3, cert)
        old_client, old_server = greet(ssl.TLSVersion.TLSv1_2, cert)
    alert = b"\x15\x03\x03\x00\x02\x02\x28"
    yield "client-1.3", TO_SERVER + AT_ONCE + new_client
    yield "client-1.3-cut", TO_SERVER + BY_NINE + new_client
    yield "client-1.2", TO_SERVER + AT_ONCE + old_client
    yield "server-1.3", TO_CLIENT + AT_ONCE + new_server
    yield "server-1.2", TO_CLIENT + AT_ONCE + old_server
    yield "client-twice", TO_SERVER + AT_ONCE + new_client + new_client
    yield "alert-to-client", TO_CLIENT + AT_ONCE + alert
    yield "alert-to-server", TO_SERVER + BY_NINE + alert
    yield "frames", TO_SERVER + AT_ONCE + b"SHRD\1\1" + bytes(58)
    yield "http", TO_SERVER + AT_ONCE + b"GET / HTTP/1.1\r\n\r\n"
    yield "long-record", TO_SERVER + AT_ONCE + b"\x16\x03\x01\xff\xff\x01\xff\xff\xff" + bytes(99)
    yield "long-hello", TO_SERVER + AT_ONCE + b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(999)
    for name, way in ("clients", OVER_CLIENTS), ("servers", OVER_SERVERS):
        yield f"over-{name}-nothing", way + bytes(3000)
        yield f"over-{name}-a-bit", way + bytes(100) + b"\1"
        yield f"over-{name}-late", way + bytes(700) + b"\x80" + bytes(9)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "corpus", "tls")
    os.makedirs(folder, exist_ok=True)
    for name, data in seeds():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


main()
