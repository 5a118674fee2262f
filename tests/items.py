"""What replies tell of the size of the item under a key: for scripts that compare it.

`replayed` goes through rows one by one; `TELLS`, `SAYS`, `GROWS` are the same as SQL, for
engines that have other ways to put it together.
"""

READS = ("get", "gets", "gat", "gats")
STORES = ("set", "add", "replace", "append", "prepend", "cas")
CHANGES = ("incr", "decr", "delete")
PARTS = ("append", "prepend")
# Of stores: what is not known to have been refused.
KEPT = ("stored", "no_reply", "unknown")

# A value of which the size is said, if it is.
SAYS = f"""((op IN {READS} AND status IN ('hit', 'unknown') AND value_size IS NOT NULL)
    OR (op = 'set' AND status IN {KEPT}) OR (op IN ('add', 'replace', 'cas') AND status = 'stored'))"""
GROWS = f"(op IN {PARTS} AND status = 'stored' AND value_size IS NOT NULL)"
# After which nothing is known that was before; with SAYS, the size is.
TELLS = f"""({SAYS} OR status IN ('miss', 'not_found') OR (op IN {STORES + CHANGES}
    AND NOT {GROWS} AND status NOT IN ('error', 'client_error')
    AND NOT (op = 'add' AND status IN ('not_stored', 'exists'))
    AND NOT (op IN ('cas', 'delete') AND status = 'exists')))"""


def replayed(rows):
    """The size of each key in the end, from (op, key, status, value_size) in order."""
    sizes = {}
    for op, key, status, size in rows:
        if op == "flush_all":
            sizes = dict.fromkeys(sizes)
        elif key is None:
            continue
        elif op in READS:
            if status == "miss":
                sizes[key] = None
            elif status in ("hit", "unknown") and size is not None:
                sizes[key] = size
        elif status in ("error", "client_error"):
            continue
        elif op in PARTS and status == "stored" and size is not None:
            if sizes.get(key) is not None:
                sizes[key] += size
        elif op == "set" and status in KEPT or op in STORES and op not in PARTS and status == "stored":
            sizes[key] = size
        elif op == "add" and status in ("not_stored", "exists"):
            continue
        elif op in ("cas", "delete") and status == "exists":
            continue
        elif op in STORES + CHANGES or status == "not_found":
            sizes[key] = None
    return sizes
