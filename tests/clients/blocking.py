"""The clients whose calls return when they are answered."""

import contextlib

from adapter import Client, is_unix, port_of


class Pymemcache(Client):
    has_pool = True
    can_gat = False

    def __init__(self, log, client):
        super().__init__(log)
        self.client = client

    @staticmethod
    def where(address):
        return address if is_unix(address) else port_of(address)

    OPTIONS = {"no_delay": True, "allow_unicode_keys": True, "default_noreply": False, "timeout": 60}

    @classmethod
    def connect(cls, log, address):
        from pymemcache.client.base import Client as Library

        return cls(log, Library(cls.where(address), **cls.OPTIONS))

    @classmethod
    @contextlib.contextmanager
    def pool(cls, log, address, size):
        from pymemcache.client.base import PooledClient

        # It refuses a client more than it has; so each of three has its own.
        pooled = PooledClient(cls.where(address), max_pool_size=size + 1, **cls.OPTIONS)
        yield lambda log: cls(log, pooled)
        pooled.close()

    def do_store(self, op, key, value, ttl, quiet):
        stored = getattr(self.client, op)(key, value, expire=ttl, noreply=quiet)
        return "no_reply" if quiet else "stored" if stored else "not_stored"

    def store_many(self, values):
        failed = self.client.set_many(values, expire=9)
        for key, value in values.items():
            self.log("set", key, "stored", value_size=len(value), ttl=9)
        assert failed == []

    def do_get(self, key):
        return self.client.get(key)

    def do_get_many(self, keys):
        return self.client.get_many(keys)

    def do_gets(self, key):
        return self.client.gets(key)

    def do_cas(self, key, value, unique):
        answer = self.client.cas(key, value, unique)
        return {True: "stored", False: "exists", None: "not_found"}[answer]

    def do_delete(self, key, quiet):
        deleted = self.client.delete(key, noreply=quiet)
        return "no_reply" if quiet else "deleted" if deleted else "not_found"

    def delete_many(self, keys):
        # Says of none whether it was there.
        self.client.delete_many(keys)
        for key in keys:
            self.log("delete", key)

    def do_count(self, op, key, by, quiet):
        number = getattr(self.client, op)(key, by, noreply=quiet)
        return "no_reply" if quiet else "not_found" if number is None else "ok"

    def do_touch(self, key, ttl, quiet):
        touched = self.client.touch(key, expire=ttl, noreply=quiet)
        return "no_reply" if quiet else "touched" if touched else "not_found"

    def more(self):
        keys = [b"main:there", b"main:absent", b"main:size:4096"]
        found = self.client.gets_many(keys)
        for index, key in enumerate(keys):
            value, unique = found.get(key, (None, None))
            self.got("gets", key, value, cas=unique and int(unique), key_index=index)
        self.client.set(b"main:flags", b"flags", flags=2**32 - 1)
        self.log("set", b"main:flags", "stored", client_flags=2**32 - 1)
        self.client.version()
        self.log("version", status="ok")
        self.client.stats("items")
        self.log("stats", status="ok")

    def do_flush(self):
        assert self.client.flush_all()

    def close(self):
        self.client.quit()
        self.log("quit")


class BinaryMemcached(Client):
    protocol = "binary"
    odd_keys = [*Client.odd_keys, b"\0\x80 \r\n\xff", bytes(range(250))]
    can_gat = can_be_quiet = False

    def __init__(self, log, client):
        super().__init__(log)
        self.client = client

    @classmethod
    def connect(cls, log, address):
        from bmemcached import Client as Library

        # Otherwise it marks its values by flags, and compresses what it can.
        return cls(log, Library([address], raw_data=True, socket_timeout=60))

    def do_store(self, op, key, value, ttl, quiet):
        if op in ["append", "prepend"]:
            return None
        stored = getattr(self.client, op)(key, value, time=ttl)
        refused = {"add": "exists", "replace": "not_found"}
        return "stored" if stored else refused[op]

    def store(self, op, key, value, ttl=0, quiet=False):
        if op not in ["append", "prepend"]:
            super().store(op, key, value, ttl, quiet)

    def store_many(self, values):
        assert self.client.set_multi(values, time=7) == []
        for key, value in values.items():
            self.log("set", key, "stored", value_size=len(value), ttl=7, quiet=True)
        self.log("noop", status="ok", quiet=False)

    def do_get(self, key):
        return self.client.get(key)

    def get_many(self, keys):
        # Quiet gets, which are not answered for what is not there, and one that is not.
        found = self.client.get_multi(keys)
        for key in keys:
            self.got("get", key, found.get(key), key_index=0, quiet=key != keys[-1])

    def do_gets(self, key):
        return self.client.gets(key)

    def cas(self, key, value):
        found, unique = self.do_gets(key)
        self.got("get", key, found, cas=unique)
        for where, refused in [(key, None), (key, "exists"), (key + b":absent", "not_found")]:
            stored = self.client.cas(where, value, unique)
            self.log("cas", where, "stored" if stored else refused, value_size=len(value))

    def do_delete(self, key, quiet):
        # True for one that was not there, too.
        assert self.client.delete(key) is True
        return None

    def delete_many(self, keys):
        self.client.delete_multi(keys)
        for key in keys:
            self.log("delete", key, quiet=False)
        self.log("noop", status="ok")

    def do_count(self, op, key, by, quiet):
        # It asks for a new counter where there is none.
        getattr(self.client, op)(key, by, 40, 1000)
        return "ok"

    def touch(self, key, ttl, quiet=False):
        pass

    def more(self):
        absent = {(b"main:refused", 10**9): b"no unique matches"}
        assert self.client.set_multi(absent) == [(b"main:refused", 0)]
        self.log("cas", b"main:refused", "not_found", quiet=True)
        self.log("noop", status="ok")
        self.client.stats()
        self.log("stats", status="ok")

    def do_flush(self):
        assert self.client.flush_all()

    def close(self):
        self.client.disconnect_all()


class Pylibmc(Client):
    has_pool = True
    binary = False
    can_be_quiet = can_gat = False
    # So that it can compare, it asks for the unique of whatever it reads.
    get_op = many_op = "gets"
    largest_step = 2**31 - 1

    def __init__(self, log, client):
        super().__init__(log)
        self.client = client

    @classmethod
    def library(cls, address):
        import pylibmc

        behaviors = {"tcp_nodelay": True, "cas": True}
        return pylibmc.Client([address], binary=cls.binary, behaviors=behaviors)

    @classmethod
    def connect(cls, log, address):
        return cls(log, cls.library(address))

    @classmethod
    @contextlib.contextmanager
    def pool(cls, log, address, size):
        import pylibmc

        class Pooled:
            """Takes a client from the pool for every call."""

            def __getattr__(self, name):
                def call(*words):
                    with clients.reserve(block=True) as client:
                        return getattr(client, name)(*words)

                return call

        clients = pylibmc.ClientPool(cls.library(address), size)
        yield lambda log: cls(log, Pooled())
        for _ in range(size):
            clients.get().disconnect_all()
            log.unordered("quit")

    # What the server says that it refuses an add by.
    refused = "not_stored"

    def do_store(self, op, key, value, ttl, quiet):
        import pylibmc

        try:
            stored = getattr(self.client, op)(key, value, ttl)
        except pylibmc.NotFound:
            return "not_found"
        return "stored" if stored else self.refused if op == "add" else "not_stored"

    def do_get(self, key):
        return self.client.get(key)

    def do_get_many(self, keys):
        return self.client.get_multi(keys)

    def do_gets(self, key):
        return self.client.gets(key)

    def do_cas(self, key, value, unique):
        import pylibmc

        try:
            return "stored" if self.client.cas(key, value, unique) else "exists"
        except pylibmc.NotFound:
            return "not_found"

    def do_delete(self, key, quiet):
        return "deleted" if self.client.delete(key) else "not_found"

    def do_count(self, op, key, by, quiet):
        import pylibmc

        try:
            getattr(self.client, op)(key, by)
            return "ok"
        except pylibmc.NotFound:
            return "not_found"

    def do_touch(self, key, ttl, quiet):
        return "touched" if self.client.touch(key, ttl) else "not_found"

    def do_flush(self):
        assert self.client.flush_all()

    def close(self):
        self.client.disconnect_all()
        self.log("quit")


class PylibmcBinary(Pylibmc):
    protocol = "binary"
    binary = True
    odd_keys = BinaryMemcached.odd_keys
    get_op = many_op = gets_op = "get"
    refused = "exists"

    def after_gets(self):
        self.log("noop", status="ok")

    def touch(self, key, ttl, quiet=False):
        # Where it touches something, the library waits for more until its patience ends.
        if key == b"main:absent":
            super().touch(key, ttl, quiet)

    def get_many(self, keys):
        found = self.do_get_many(keys)
        for key in keys:
            self.got("get", key, found.get(key), quiet=True)
        self.log("noop", status="ok")
