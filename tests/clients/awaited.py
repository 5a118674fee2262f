"""The clients whose calls are coroutines."""

import asyncio
import contextlib
import threading

from adapter import Client, is_unix, port_of


class Loop:
    """Where coroutines of a library run, while threads wait for them."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def __call__(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)


class Aiomcache(Client):
    has_pool = True
    can_gat = can_be_quiet = False
    many_op = "gets"

    def __init__(self, log, run, client):
        super().__init__(log)
        self.run, self.client = run, client

    @classmethod
    def connect(cls, log, address):
        from aiomcache import Client as Library

        return cls(log, Loop(), Library(*port_of(address), pool_size=1))

    @classmethod
    @contextlib.contextmanager
    def pool(cls, log, address, size):
        from aiomcache import Client as Library

        run, client = Loop(), Library(*port_of(address), pool_size=size)
        yield lambda log: cls(log, run, client)
        run(client.close())

    def do_store(self, op, key, value, ttl, quiet):
        stored = self.run(getattr(self.client, op)(key, value, ttl))
        return "stored" if stored else "not_stored"

    def do_get(self, key):
        return self.run(self.client.get(key))

    def do_get_many(self, keys):
        return dict(zip(keys, self.run(self.client.multi_get(*keys)), strict=True))

    def do_gets(self, key):
        return self.run(self.client.gets(key))

    def do_cas(self, key, value, unique):
        # Does not say whether there was another value or none.
        return "stored" if self.run(self.client.cas(key, value, unique)) else None

    def do_delete(self, key, quiet):
        return "deleted" if self.run(self.client.delete(key)) else "not_found"

    def do_count(self, op, key, by, quiet):
        from aiomcache import ClientException

        try:
            self.run(getattr(self.client, op)(key, by))
            return "ok"
        except ClientException as error:
            # Each error costs it the connection.
            assert "NOT_FOUND" in str(error), error
            return "not_found"

    def do_touch(self, key, ttl, quiet):
        return "touched" if self.run(self.client.touch(key, ttl)) else "not_found"

    def more(self):
        self.run(self.client.version())
        self.log("version", status="ok")
        self.run(self.client.stats(b"slabs"))
        self.log("stats", status="ok")

    def do_flush(self):
        self.run(self.client.flush_all())

    def close(self):
        self.run(self.client.close())


class Emcache(Client):
    has_pool = True
    odd_keys = [b"odd;key\x80\xff"]

    def __init__(self, log, run, client, node):
        super().__init__(log)
        self.run, self.client, self.node = run, client, node

    @classmethod
    def create(cls, run, address, connections, **options):
        import emcache

        if is_unix(address):
            node = emcache.MemcachedUnixSocketPath(address)
        else:
            node = emcache.MemcachedHostAddress(*port_of(address))
        options |= {"max_connections": connections, "min_connections": connections}
        return run(emcache.create_client([node], timeout=60, **options)), node

    @classmethod
    def connect(cls, log, address):
        run = Loop()
        return cls(log, run, *cls.create(run, address, 1, autobatching=False))

    @classmethod
    @contextlib.contextmanager
    def pool(cls, log, address, size):
        run = Loop()
        client, node = cls.create(run, address, size, autobatching=False)
        yield lambda log: cls(log, run, client, node)
        run(client.close())

    def do_store(self, op, key, value, ttl, quiet):
        import emcache

        words = {} if op in ["append", "prepend"] else {"exptime": ttl}
        try:
            self.run(getattr(self.client, op)(key, value, noreply=quiet, **words))
        except emcache.NotStoredStorageCommandError:
            return "not_stored"
        return "no_reply" if quiet else "stored"

    def do_get(self, key):
        item = self.run(self.client.get(key))
        return item and item.value

    def do_get_many(self, keys):
        found = self.run(self.client.get_many(keys))
        return {key: item.value for key, item in found.items()}

    def do_gat(self, key, ttl):
        item = self.run(self.client.gat(ttl, key))
        return item and item.value

    def do_gets(self, key):
        item = self.run(self.client.gets(key))
        return item.value, item.cas

    def do_cas(self, key, value, unique):
        import emcache

        try:
            self.run(self.client.cas(key, value, unique))
            return "stored"
        except emcache.NotStoredStorageCommandError:
            return "exists"
        except emcache.StorageCommandError as error:
            assert "NOT_FOUND" in str(error), error
            return "not_found"

    def or_not_found(self, call, status, quiet):
        import emcache

        try:
            self.run(call)
        except emcache.NotFoundCommandError:
            return "not_found"
        return "no_reply" if quiet else status

    def do_delete(self, key, quiet):
        return self.or_not_found(self.client.delete(key, noreply=quiet), "deleted", quiet)

    def do_count(self, op, key, by, quiet):
        count = {"incr": self.client.increment, "decr": self.client.decrement}[op]
        return self.or_not_found(count(key, by, noreply=quiet), "ok", quiet)

    def do_touch(self, key, ttl, quiet):
        return self.or_not_found(self.client.touch(key, ttl, noreply=quiet), "touched", quiet)

    def more(self):
        keys = [b"main:there", b"main:absent", b"main:size:4096"]
        for op, found in [
            ("gets", self.run(self.client.gets_many(keys))),
            ("gats", self.run(self.client.gats_many(44, keys))),
        ]:
            for index, key in enumerate(keys):
                item = found.get(key)
                more = {"cas": item and item.cas, "key_index": index}
                self.got(op, key, item and item.value, **more)
        self.run(self.client.version(self.node))
        self.log("version", status="ok")
        self.run(self.client.stats(self.node))
        self.log("stats", status="ok")

    def do_flush(self):
        self.run(self.client.flush_all(self.node))

    def close(self):
        self.run(self.client.close())
