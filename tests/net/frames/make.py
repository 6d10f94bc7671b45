#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the test vectors of frames from the specification (Documentation/protocol.rst) alone: it
shares no code with the codec, not even the checksum. Plain Python; the same bytes each time.

    python3 tests/net/frames/make.py		the vectors, *.frame beside this file
    python3 tests/net/frames/make.py --corpus	and the seeds of fuzz_frame made of them

A vector is a text: what it means ("#"), what a receiver makes of it, in order ("is" a frame with
these fields, or "refused" with a sentence that has these words), and the stream's bytes in hex.
"""
import os
import sys

HELLO, WELCOME, REFUSE, COMMAND, REPLY, PING, PONG, OPEN, ALL_OPEN, HAVE, ROWS, CLOSE, TOKEN, \
    FAILED, FILE = range(1, 16)
HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "..", "fuzz", "corpus", "frame")


def crc32c(data):
    """Bit by bit, as the polynomial is written: slow, and hard to get wrong."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


FIELDS = ["type", "flags", "session", "sequence", "epoch", "position", "tokens", "payload",
          "deadline", "stage", "payload_crc"]


def header(f, magic=b"SHRD", version=1, zero=0, crc_flip=0):
    le = lambda v, n: v.to_bytes(n, "little")
    b = magic + le(version, 1) + le(f["type"], 1) + le(f["flags"], 2) + le(f["session"], 8)
    b += le(f["sequence"], 8) + le(f["epoch"], 4) + le(f["position"], 4) + le(f["tokens"], 4)
    b += le(f["payload"], 4) + le(f["deadline"], 4) + le(f["stage"], 4) + le(zero, 8)
    b += le(f["payload_crc"], 4)
    assert len(b) == 60
    return b + le(crc32c(b) ^ crc_flip, 4)


def fields(type, payload=b"", **more):
    f = dict.fromkeys(FIELDS, 0)
    f.update(type=type, payload=len(payload), payload_crc=crc32c(payload), **more)
    return f


def padded(payload):
    return payload + bytes(-len(payload) % 64)


def frame(type, payload=b"", **more):
    f = fields(type, payload, **more)
    return f, header(f) + padded(payload)


class Vector:
    def __init__(self, name, meaning, lines, data):
        self.name, self.data = name, data
        hexes = "\n".join(data[i:i + 32].hex() for i in range(0, len(data), 32))
        self.text = f"# SPDX-License-Identifier: MIT\n# {meaning}\n" + "".join(
            line + "\n" for line in lines) + hexes + "\n"


def good(name, meaning, *frames):
    lines = ["is " + " ".join(f"{k}={f[k]}" for k in FIELDS) for f, _ in frames]
    return Vector(name, meaning, lines, b"".join(b for _, b in frames))


def bad(name, meaning, words, data):
    return Vector(name, meaning, ["refused " + words], data)


def ids(*tokens):
    return b"".join(t.to_bytes(4, "little") for t in tokens)


def numbers(*values):
    return b"".join(v.to_bytes(8, "little") for v in values)


RUN = "000102030405060708090a0b0c0d0e0f"
MODEL = "5e" * 32
BITS = "b1" * 32


def text(s):
    """JSON as it stands here, without line ends."""
    return "".join(line.strip() for line in s.splitlines()).encode()


def vectors():
    # Two rows of 64 columns in int8: two groups each, and their scales, halves of 1.
    row = bytes(range(1, 65)) + bytes.fromhex("003c003c")
    rows = padded(ids(17, 4)) + 2 * row
    opened = text("""{"max":256,"wire":0,"ignore_eos":false,"cuts":[12],"sampler":{"temp":0.8,
        "top_k":40,"top_p":0.95,"min_p":0.05,"repeat_penalty":1.0,"repeat_last_n":64,
        "seed":"7"}}""")
    load = text('{"do":"load","id":1,"stage":2,"with":{"model":"' + MODEL + """","bits":0,
        "first":12,"end":24,"n_ctx":4096,"n_sessions":1,"n_batch":256,"kv":0}}""")
    loaded = text('{"id":1,"bit_profile":"' + BITS + """","room":4096,"n_batch":256,
        "hidden":64,"n_layers":24,"epoch":0,"have":0,"whole":false}""")
    v = [
        good("hello", "Who dials says hello: JSON.",
             frame(HELLO, text('{"role":"head","run":"' + RUN + '","lease_ms":60000}'))),
        good("hello_data", "The stage before says more.",
             frame(HELLO, text('{"role":"data","run":"' + RUN + """","epoch":1,"stage":2,
                 "model":\"""" + MODEL + '","bit_profile":"' + BITS + '","layer":12}'))),
        good("welcome", "The other side is glad.",
             frame(WELCOME, b'{"name":"kitchen","version":"0.1.0"}')),
        good("refuse", "Or is not, and says why.", frame(REFUSE, b"another model is loaded here")),
        good("command", "The head to a node: JSON; exactly three blocks.", frame(COMMAND, load)),
        good("reply", "And back.", frame(REPLY, loaded)),
        good("ping", "Are you there? No payload, so no padding.", frame(PING, epoch=1)),
        good("pong", "Yes, and this is how far stage 2 is: ten numbers.",
             frame(PONG, numbers(2, 1000, 1127, 5300, 100000, 1, 16, 5100, 5250000, 0))),
        good("pong_data", "Over a data link there is nothing to say.", frame(PONG)),
        good("open", "A session begins.", frame(OPEN, opened, session=7, epoch=1)),
        good("all_open", "These were all.", frame(ALL_OPEN, epoch=1)),
        good("have", "Of session 7 everything before position 128 has been computed.",
             frame(HAVE, session=7, epoch=1, position=128)),
        good("rows", "Two tokens at 128: ids, zeros, rows; the next token is wanted.",
             frame(ROWS, rows, flags=1, session=7, epoch=1, position=128, tokens=2,
                   deadline=1500, stage=1)),
        good("rows_ids", "To the first stage there are ids only.",
             frame(ROWS, ids(1, 2, 3), session=7, epoch=1, tokens=3)),
        good("close", "A session ends.", frame(CLOSE, session=7, epoch=1)),
        good("token", "The last stage's answer.",
             frame(TOKEN, ids(4242), session=7, epoch=1, position=130, tokens=1, stage=3)),
        good("failed", "A session cannot go on.",
             frame(FAILED, b"no memory for 3 pages", session=7, epoch=1, stage=1)),
        good("file", "A file's end, after 64 KiB.", frame(FILE, bytes(range(255)), session=65536)),
        good("extremes", "Every field at its largest.",
             frame(FILE, b"\xff", flags=1, session=2**64 - 1, epoch=2**32 - 1,
                   position=2**32 - 1, tokens=2**32 - 1, deadline=2**32 - 1, stage=2**32 - 1)),
        good("stream", "Three frames on one link, numbered.", frame(HELLO, b'{"role":"probe"}'),
             frame(PING, sequence=1), frame(FILE, b"x", sequence=2)),
    ]
    ping, rows = fields(PING), fields(ROWS, b"rows")
    http = b"GET / HTTP/1.1\r\nHost: kitchen\r\nUser-Agent: a browser, a curious one\r\n\r\n"
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(100))
    v += [
        bad("bad_magic", "Something else speaks here.",
            "these are no frames: they begin with 47 45 54 20", http),
        bad("bad_tls", "A greeting of TLS where none is wanted.", "speaks TLS", tls),
        bad("bad_version", "Another version, whatever else there is.",
            "version 2 of the protocol, this one version 1", header(ping, version=2, crc_flip=1)),
        bad("bad_header_crc", "A damaged header.", "header was damaged",
            header(ping, crc_flip=1 << 31)),
        bad("bad_type_0", "There is no type 0.", "unknown type 0", header(fields(0))),
        bad("bad_type_16", "Nor one after the last.", "unknown type 16", header(fields(16))),
        bad("bad_flags", "A flag that nobody has defined.", "flags 0x8000",
            header(fields(ROWS, flags=0x8000))),
        bad("bad_zero", "A field that is kept for later.", "must be zero",
            header(ping, zero=1 << 63)),
        bad("bad_length", "More than any frame has.", "claims a payload of 67108865 bytes",
            header(dict(rows, payload=(64 << 20) + 1))),
        bad("bad_payload", "A damaged payload.", "payload of a ROWS frame was damaged",
            header(rows) + padded(b"Rows")),
        bad("bad_payload_crc", "The sum of no bytes is 0.", "payload of a PING frame was damaged",
            header(dict(ping, payload_crc=1))),
        bad("bad_padding", "The last byte of the padding.",
            "padding of a ROWS frame is not zero", header(rows) + b"rows" + bytes(59) + b"\1"),
        bad("bad_sequence", "The first frame is number 0.",
            "frame number 1 has come where number 0 is due", header(fields(PING, sequence=1))),
    ]
    return v


def main():
    assert crc32c(b"123456789") == 0xE3069283
    for v in vectors():
        with open(os.path.join(HERE, v.name + ".frame"), "w") as f:
            f.write(v.text)
        if "--corpus" in sys.argv:
            os.makedirs(CORPUS, exist_ok=True)
            with open(os.path.join(CORPUS, v.name), "wb") as f:
                # How the target cuts the stream; odd: that it makes the checksums right.
                cut = 2 * (len(v.data) % 100) + (v.name in ("stream", "file", "bad_length"))
                f.write(bytes([cut]) + v.data)


main()
