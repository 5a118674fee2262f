"""Pseudonyms of keys, computed from the definition of SipHash-2-4 alone.

    pseudonyms.py SECRET < KEYS

SECRET is 32 hexadecimal digits; KEYS are lines of hexadecimal digits, a key each.
Prints the pseudonym of each key.
"""

import re
import sys

MASK = (1 << 64) - 1


def rotate(word, by):
    return (word << by | word >> (64 - by)) & MASK


def siphash(secret, message):
    k0, k1 = (int.from_bytes(secret[at : at + 8], "little") for at in (0, 8))
    starts = (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    v0, v1, v2, v3 = (
        k ^ int.from_bytes(start, "big") for k, start in zip((k0, k1, k0, k1), starts)
    )

    def rounds(count, v0, v1, v2, v3):
        for _ in range(count):
            v0, v2 = (v0 + v1) & MASK, (v2 + v3) & MASK
            v1, v3 = rotate(v1, 13) ^ v0, rotate(v3, 16) ^ v2
            v0 = rotate(v0, 32)
            v0, v2 = (v0 + v3) & MASK, (v2 + v1) & MASK
            v1, v3 = rotate(v1, 17) ^ v2, rotate(v3, 21) ^ v0
            v2 = rotate(v2, 32)
        return v0, v1, v2, v3

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v0, v1, v2, v3 = rounds(2, v0, v1, v2, v3 ^ word)
        v0 ^= word
    v0, v1, v2, v3 = rounds(4, v0, v1, v2 ^ 0xFF, v3)
    return v0 ^ v1 ^ v2 ^ v3


def pseudonym(secret, key):
    hashed = lambda segment: b"%016x" % siphash(secret, segment[0])
    return re.sub(rb"[^:/.]+", hashed, key).decode()


if __name__ == "__main__":
    secret = bytes.fromhex(sys.argv[1])
    for line in sys.stdin:
        print(pseudonym(secret, bytes.fromhex(line)))
