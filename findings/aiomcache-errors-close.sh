#!/bin/sh
# aiomcache 0.8.2 gives up a connection for every exception that it raises, also for one that
# says something ordinary. incr of a counter that is not there yet raises ClientException, so
# counting by "incr, and set if that fails" opens a connection for each new counter; a key
# that it refuses before it sends anything costs a connection, too. The next call connects
# again and works, so that nothing but the server's total_connections shows it.
# Seen with Python 3.11 and memcached 1.6.18 and 1.6.45:
#   100 gets of absent keys: 1 connections opened
#   100 incr of absent keys: 100 connections opened
#   100 gets of a key with a blank: 100 connections opened
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
pip aiomcache==0.8.2
"$python" - "$port" <<'END'
import asyncio, sys
import aiomcache

port = int(sys.argv[1])

async def total():
    client = aiomcache.Client("127.0.0.1", port, pool_size=1)
    stats = await client.stats()
    await client.close()
    return int(stats[b"total_connections"])

async def opened(call):
    before = await total()
    client = aiomcache.Client("127.0.0.1", port, pool_size=1)
    for _ in range(100):
        try:
            await call(client)
        except aiomcache.ClientException:
            pass
    await client.close()
    # One is that of total() itself.
    return await total() - before - 1

async def main():
    calls = {
        "gets of absent keys": lambda client: client.get(b"absent"),
        "incr of absent keys": lambda client: client.incr(b"absent"),
        "gets of a key with a blank": lambda client: client.get(b"a b"),
    }
    counts = {name: await opened(call) for name, call in calls.items()}
    for name, count in counts.items():
        print(f"100 {name}: {count} connections opened")
    return list(counts.values())

gets, incrs, refused = asyncio.run(main())
sys.exit(gets != 1 or incrs < 99 or refused < 99)
END
