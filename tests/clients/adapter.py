"""What the adapters of all client libraries share: one set of names, and what is logged.

What an adapter logs is what its library returned; where that says less than the server
did, less is logged. What a library sends beside what it was asked for is told where it is
logged.
"""


class Client:
    """What is logged is the same for most; an adapter has the calls."""

    protocol = "text"
    has_pool = False
    # Keys that are no plain words, and that the library takes.
    odd_keys = ["schlüssel:🔑".encode()]
    # What its reads are on the wire, of one key and of many.
    get_op = many_op = "get"
    gets_op = "gets"
    can_gat = can_be_quiet = True
    # What it can add to a counter at most.
    largest_step = 2**63

    def __init__(self, log):
        self.write = log

    def log(self, op, key=None, status=None, **more):
        self.write(op, key, status, protocol=self.protocol, **more)

    def got(self, op, key, value, **more):
        """Logs a read: a value, or `None` for a miss."""
        status = "miss" if value is None else "hit"
        size = None if value is None else len(value)
        self.log(op, key, status, value_size=size, **more)
        return value

    def store(self, op, key, value, ttl=0, quiet=False):
        if quiet and not self.can_be_quiet:
            return
        status = self.do_store(op, key, value, ttl, quiet)
        # A packet that adds to a value has no place for a time.
        ttl = None if self.protocol == "binary" and op in ["append", "prepend"] else ttl
        self.log(op, key, status, value_size=len(value), ttl=ttl, quiet=quiet)

    def store_number(self, key, number):
        self.store("set", key, b"%d" % number)

    def store_many(self, values):
        for key, value in values.items():
            self.store("set", key, value)

    def get(self, key):
        return self.got(self.get_op, key, self.do_get(key))

    def get_many(self, keys):
        found = self.do_get_many(keys)
        for index, key in enumerate(keys):
            self.got(self.many_op, key, found.get(key), key_index=index)

    def gat(self, key, ttl):
        if self.can_gat:
            self.got("gat", key, self.do_gat(key, ttl), ttl=ttl)

    def cas(self, key, value):
        """Once with the right unique, once with one that was right, once without a key."""
        found, unique = self.do_gets(key)
        self.got(self.gets_op, key, found, cas=int(unique))
        self.after_gets()
        for where in [key, key, key + b":absent"]:
            status = self.do_cas(where, value, unique)
            self.log("cas", where, status, value_size=len(value), quiet=False)

    def after_gets(self):
        """What it sends after a read that asked for the unique."""

    def delete(self, key, quiet=False):
        if quiet and not self.can_be_quiet:
            return
        self.log("delete", key, self.do_delete(key, quiet), value_size=None, quiet=quiet)

    def delete_many(self, keys):
        for key in keys:
            self.delete(key)

    def count(self, op, key, by, quiet=False):
        if not (quiet and not self.can_be_quiet):
            self.log(op, key, self.do_count(op, key, by, quiet), quiet=quiet)

    def touch(self, key, ttl, quiet=False):
        if not (quiet and not self.can_be_quiet):
            self.log("touch", key, self.do_touch(key, ttl, quiet), ttl=ttl, quiet=quiet)

    def flush(self):
        self.do_flush()
        self.log("flush_all", status="ok")

    def more(self):
        """What this library can do beside what all can."""

    def close(self):
        pass


def port_of(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def is_unix(address):
    return address.startswith("/")
