"""The client that speaks the meta protocol."""

import contextlib
import socket

from adapter import Client, is_unix, port_of


class MetaMemcache(Client):
    protocol = "meta"
    has_pool = True
    gets_op = "get"
    odd_keys = [*Client.odd_keys, b"\0\x80 \r\n\xff"]

    def __init__(self, log, client):
        super().__init__(log)
        self.client = client

    def log(self, op, key=None, status=None, **more):
        """After what is quiet it asks for a reply, and does not say what became of it."""
        quiet = more.get("quiet")
        super().log(op, key, None if quiet else status, **more)
        if quiet:
            super().log("noop", status="ok")

    @classmethod
    def create(cls, address, connections):
        import meta_memcache

        host, port = (address, 0) if is_unix(address) else port_of(address)

        def socket_of():
            family = socket.AF_UNIX if is_unix(address) else socket.AF_INET
            connected = socket.socket(family, socket.SOCK_STREAM)
            if family == socket.AF_INET:
                # As the library's own way to make a socket does.
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.settimeout(60)
            connected.connect(address if is_unix(address) else (host, port))
            return connected

        def pool_of(server):
            # Its own small receive buffer makes the kernel wait while a large value comes.
            sizes = {"initial_pool_size": connections, "max_pool_size": connections}
            return ConnectionPool(str(server), socket_of, **sizes, read_buffer_size=1 << 18)

        from meta_memcache.connection.pool import ConnectionPool

        servers = [meta_memcache.ServerAddress(host, port)]
        return meta_memcache.CacheClient.cache_client_from_servers(
            servers, pool_of, serializer=cls.plain(), key_encoder_fn=lambda key: key.key
        )

    @staticmethod
    def plain():
        """Keeps values as they are; the library's own would compress them."""
        from meta_memcache.base.base_serializer import BaseSerializer, EncodedValue

        class Plain(BaseSerializer):
            def serialize(self, key, value):
                return EncodedValue(data=value, encoding_id=16)

            def unserialize(self, data, encoding_id):
                return bytes(data)

        return Plain()

    @classmethod
    def connect(cls, log, address):
        return cls(log, cls.create(address, 1))

    @classmethod
    @contextlib.contextmanager
    def pool(cls, log, address, size):
        client = cls.create(address, size)
        yield lambda log: cls(log, client)

    @staticmethod
    def key(key):
        from meta_memcache.protocol import Key

        return Key(key)

    @staticmethod
    def status(response, success):
        from meta_memcache.protocol import Conflict, Miss, NotStored

        for kind, status in [(Conflict, "exists"), (Miss, "not_found"), (NotStored, "not_stored")]:
            if isinstance(response, kind):
                return status
        return success

    def set(self, key, value, ttl, quiet, unique=None, mode="set"):
        from meta_memcache.protocol import SetMode

        mode = SetMode[mode.upper()]
        return self.client._set(self.key(key), value, ttl, quiet, unique, None, mode)

    def do_store(self, op, key, value, ttl, quiet):
        return self.status(self.set(key, value, ttl, quiet, mode=op), "stored")

    def do_get(self, key):
        return self.client.get(self.key(key))

    def get_many(self, keys):
        found = self.client.multi_get([self.key(key) for key in keys])
        found = {key.key: value for key, value in found.items()}
        for key in keys:
            self.got("get", key, found[key])

    def do_gat(self, key, ttl):
        return self.client.get(self.key(key), touch_ttl=ttl)

    def do_gets(self, key):
        return self.client.get_cas(self.key(key))

    def do_cas(self, key, value, unique):
        return self.status(self.set(key, value, 300, False, unique), "stored")

    def do_delete(self, key, quiet):
        return "deleted" if self.client.delete(self.key(key), no_reply=quiet) else "not_found"

    def do_count(self, op, key, by, quiet):
        signed = {"incr": by, "decr": -by}[op]
        counted = self.client.delta(self.key(key), signed, no_reply=quiet)
        return "ok" if counted else "not_found"

    def touch(self, key, ttl, quiet=False):
        # A read that gets no value, and is answered even where no reply is wanted.
        touched = self.client.touch(self.key(key), ttl, no_reply=quiet)
        self.log("gat", key, "hit" if touched else "miss", value_size=None, ttl=ttl)

    def flush(self):
        pass
