"""What each client of memcached is had do, and the log of what it says became of it.

    sequence.py CLIENT ADDRESS [--pool]

ADDRESS is HOST:PORT, or the path of a Unix socket. The log goes to stdout, one JSON object
a line, in order. Each has what the client knows of an operation on a key: `op`, `key` in
hex, and of `status`, `value_size`, `ttl`, `client_flags`, `cas`, `quiet` and `protocol`
those that it was told or has sent; what it does not know is not there. With --pool, threads
share a pool of connections, too: what each of them did has its number as `strand`. What is
`unordered` was done at some time, by some connection.
"""

import argparse
import json
import random
import sys
import threading

from awaited import Aiomcache, Emcache
from blocking import BinaryMemcached, Pylibmc, PylibmcBinary, Pymemcache
from meta import MetaMemcache

CLIENTS = {
    "pymemcache": Pymemcache,
    "python-binary-memcached": BinaryMemcached,
    "pylibmc": Pylibmc,
    "pylibmc-binary": PylibmcBinary,
    "aiomcache": Aiomcache,
    "emcache": Emcache,
    "meta-memcache": MetaMemcache,
}

STRANDS = 3
SIZES = [0, 1, 20, 4096, 100 * 1024, (1 << 20) - 100, 1 << 20]


class Log:
    """Lines for one strand, or for the one connection that there is."""

    lock = threading.Lock()

    def __init__(self, strand=None):
        self.common = {"strand": strand} if strand else {}

    def unordered(self, op):
        with self.lock:
            print(json.dumps({"op": op, "unordered": True}))

    def __call__(self, op, key=None, status=None, **more):
        line = self.common | {"op": op, "key": key.hex() if key is not None else None}
        line |= {"status": status} if status else {}
        with self.lock:
            print(json.dumps(line | more))


def value(size):
    """Bytes that no compression makes fewer."""
    return random.Random(size).randbytes(size)


def main_sequence(client):
    for number, size in enumerate(SIZES):
        key = b"main:size:%d" % size
        client.store("set", key, value(size), ttl=300 * (number % 2))
        assert client.get(key) == value(size)
    stores(client)
    counters(client)
    client.store("set", b"main:old", b"old", ttl=100)
    client.delete(b"main:old")
    client.delete(b"main:old")
    client.get(b"main:old")
    for ttl in [0, 60, 60 * 60 * 24 * 30]:
        client.touch(b"main:size:20", ttl)
        client.touch(b"main:absent", ttl)
        client.gat(b"main:size:20", ttl)
        client.gat(b"main:absent", ttl)
    for key in client.odd_keys:
        client.get(key)
        client.store("set", key, b"odd")
        client.get(key)
        client.delete(key)
    many(client)
    quiet(client)
    client.more()
    client.flush()
    client.get(b"main:size:20")
    client.get_many([b"main:size:1", b"main:size:20"])


def stores(client):
    there, absent = b"main:there", b"main:absent"
    client.store("add", there, b"added")
    client.store("add", there, b"not added")
    client.store("replace", there, b"replaced", ttl=500)
    client.store("replace", absent, b"not replaced")
    client.store("append", there, b"<appended")
    client.store("prepend", there, b"prepended>")
    client.get(there)
    client.store("append", absent, b"nowhere")
    client.store("prepend", absent, b"nowhere")
    client.cas(there, b"compared")
    client.get(there)


def counters(client):
    client.store_number(b"main:counter", 10)
    client.count("incr", b"main:counter", 5)
    client.count("decr", b"main:counter", 3)
    client.count("decr", b"main:counter", 1000)
    client.count("incr", b"main:counter", client.largest_step)
    client.count("incr", b"main:no-counter", 1)
    client.count("decr", b"main:no-counter", 1)


def many(client):
    keys = [b"main:many:%d" % number for number in range(150)]
    client.store_many({key: value(len(key) * 7) for key in keys[::3]})
    client.get_many(keys)
    client.get_many(keys[:1])
    client.get_many([b"main:absent"])
    client.delete_many(keys[:30])
    client.get_many(keys[:60])


def quiet(client):
    """Without replies, where the client can; the last one waits for all before it."""
    for number in range(20):
        key = b"main:quiet:%d" % (number % 7)
        client.store("set", key, value(number), quiet=True)
        client.store("add", key, b"again", quiet=True)
        client.delete(key, quiet=True)
        client.get(key)
    client.store_number(b"main:counter", 1)
    client.count("incr", b"main:counter", 1, quiet=True)
    client.touch(b"main:counter", 1000, quiet=True)
    client.get(b"main:counter")


def strand_sequence(client, number):
    """One of several that share connections: each waits for its replies."""
    for turn in range(40):
        key = b"strand-%d:%d" % (number, turn)
        client.store("set", key, value(turn * number))
        client.get(key)
        client.get(key + b":absent")
        client.delete(key)
        client.delete(key)
        client.get(key)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("client", choices=CLIENTS)
    arguments.add_argument("address")
    arguments.add_argument("--pool", action="store_true")
    arguments = arguments.parse_args()
    library = CLIENTS[arguments.client]
    client = library.connect(Log(), arguments.address)
    main_sequence(client)
    client.close()
    if arguments.pool and library.has_pool:
        failed = []
        with library.pool(Log(), arguments.address, 2) as share:

            def work(number):
                try:
                    strand_sequence(share(Log(str(number))), number)
                except BaseException as error:
                    failed.append(error)
                    raise

            threads = [threading.Thread(target=work, args=[1 + at]) for at in range(STRANDS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
