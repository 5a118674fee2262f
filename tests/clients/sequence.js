// What clients of memcached from npm are had do: `sequence.js CLIENT ADDRESS [--pool]`.
// The log is as that of sequence.py.
"use strict";

const STRANDS = 3;
const SIZES = [0, 1, 20, 4096, 100 * 1024, (1 << 20) - 100, 1 << 20];

function line(common, op, key, status, more) {
  const hex = key === null ? null : Buffer.from(key).toString("hex");
  const known = status === undefined ? {} : { status };
  process.stdout.write(JSON.stringify({ ...common, op, key: hex, ...known, ...more }) + "\n");
}

const sizeOf = (value) => Buffer.byteLength(value);

// What a callback is called with, as a promise.
const called = (call) =>
  new Promise((resolve) => call((error, answer) => resolve({ error, answer })));

// What is logged is the same for most.
class Client {
  protocol = "text";
  canBeQuiet = false;
  oddKeys = ["schlüssel:🔑"];

  log(op, key, status, more) {
    line(this.strand === undefined ? {} : { strand: this.strand }, op, key, status, {
      protocol: this.protocol,
      ...more,
    });
  }

  of(strand) {
    return Object.assign(Object.create(this), { strand });
  }

  got(op, key, value, more) {
    const size = value === undefined ? null : sizeOf(value);
    this.log(op, key, value === undefined ? "miss" : "hit", { value_size: size, ...more });
  }

  async store(op, key, value, ttl = 0) {
    const status = await this.doStore(op, key, value, ttl);
    this.log(op, key, status, { value_size: sizeOf(value), ttl, quiet: false });
  }

  async get(key) {
    this.got("get", key, await this.doGet(key));
  }

  async getMany(keys) {
    const found = await this.doGetMany(keys);
    keys.forEach((key, index) => this.got("get", key, found[key], { key_index: index }));
  }

  async delete(key) {
    this.log("delete", key, await this.doDelete(key), { quiet: false });
  }

  async count(op, key, by) {
    this.log(op, key, await this.doCount(op, key, by), { quiet: false });
  }

  async touch(key, ttl) {
    this.log("touch", key, await this.doTouch(key, ttl), { ttl, quiet: false });
  }

  // Once with the right unique, once with one that was right, once without a key.
  async cas(key, value) {
    const { value: found, unique } = await this.doGets(key);
    // One of 64 bits is no number of this language.
    this.got("gets", key, found, { cas: Number(unique) });
    for (const where of [key, key, key + ":absent"]) {
      const status = await this.doCas(where, value, unique);
      this.log("cas", where, status, { value_size: sizeOf(value), quiet: false });
    }
  }

  async more() {}
  async close() {}
}

class Memjs extends Client {
  protocol = "binary";
  oddKeys = ["schlüssel:🔑", Buffer.from("\0\x80 \r\n\xff", "latin1")];

  constructor(address) {
    super();
    // It says on the console what it was told.
    const options = { timeout: 60, conntimeout: 60, logger: { log() {} } };
    this.library = require("memjs").Client.create(address, options);
  }

  async doStore(op, key, value, ttl) {
    const { error, answer } = await called((callback) =>
      this.library[op](key, value, { expires: ttl }, callback),
    );
    const refused = { add: "exists", replace: "not_found" };
    return error ? "error" : answer ? "stored" : refused[op];
  }

  async store(op, key, value, ttl = 0) {
    if (!["append", "prepend"].includes(op)) return super.store(op, key, value, ttl);
    const { answer } = await called((callback) => this.library[op](key, value, callback));
    // Its prepend appends. Refused, it says that something went wrong, not what.
    this.log("append", key, answer ? "stored" : "not_stored", {
      value_size: sizeOf(value),
      ttl: null,
    });
  }

  async doGet(key) {
    return (await this.library.get(key)).value ?? undefined;
  }

  async getMany(keys) {
    // Sent all at once.
    const values = await Promise.all(keys.map((key) => this.doGet(key)));
    keys.forEach((key, at) => this.got("get", key, values[at], { key_index: 0, quiet: false }));
  }

  async cas() {}

  async doDelete(key) {
    return (await this.library.delete(key)) ? "deleted" : "not_found";
  }

  async doCount(op, key, by) {
    const name = { incr: "increment", decr: "decrement" }[op];
    // It asks for a new counter where there is none.
    const { success } = await this.library[name](key, by, { initial: 7, expires: 500 });
    return success ? "ok" : "not_found";
  }

  async doTouch(key, ttl) {
    return (await this.library.touch(key, ttl)) ? "touched" : "not_found";
  }

  async more() {
    await called((callback) => this.library.stats((error) => callback(error)));
    this.log("stats", null, "ok");
  }

  async flush() {
    await this.library.flush();
  }

  async close() {
    this.library.quit();
    this.log("quit", null);
  }
}

class Memcached extends Client {
  constructor(address, connections) {
    super();
    // While its connections are being opened it tries again, after a second if not told.
    const patience = { timeout: 60000, idle: 60000, retries: 1000, factor: 1, minTimeout: 10 };
    const options = { poolSize: connections, ...patience };
    this.library = new (require("memcached"))(address, options);
  }

  ask(name, ...words) {
    return called((callback) => this.library[name](...words, callback));
  }

  async doStore(op, key, value, ttl) {
    const words = ["append", "prepend"].includes(op) ? [] : [ttl];
    const { answer } = await this.ask(op, key, value, ...words);
    return answer ? "stored" : "not_stored";
  }

  async doGet(key) {
    return (await this.ask("get", key)).answer;
  }

  async doGetMany(keys) {
    return (await this.ask("getMulti", keys)).answer;
  }

  async doGets(key) {
    const { answer } = await this.ask("gets", key);
    return { value: answer[key], unique: answer.cas };
  }

  async doCas(key, value, unique) {
    const { answer } = await this.ask("cas", key, value, unique, 0);
    // Does not say whether there was another value or none.
    return answer ? "stored" : undefined;
  }

  async doDelete(key) {
    return (await this.ask("del", key)).answer ? "deleted" : "not_found";
  }

  async doCount(op, key, by) {
    return (await this.ask(op, key, by)).answer === false ? "not_found" : "ok";
  }

  async doTouch(key, ttl) {
    return (await this.ask("touch", key, ttl)).answer ? "touched" : "not_found";
  }

  async more() {
    // It writes a byte above 127 as two, and a backslash before each end of a line.
    const buffer = Buffer.from("\x00\x7f\x80\xff\r\n", "latin1");
    await this.ask("set", "main:buffer", buffer, 0);
    this.log("set", "main:buffer", "stored", { value_size: 2 + 2 * 2 + 2 * 2, client_flags: 4 });
    await this.ask("get", "main:buffer");
    this.log("get", "main:buffer", "hit", { value_size: 2 + 2 * 2 + 2 * 2, client_flags: 4 });
    await this.ask("set", "main:json", { a: [1] }, 0);
    this.log("set", "main:json", "stored", { value_size: '{"a":[1]}'.length, client_flags: 2 });
    await this.ask("version");
    this.log("version", null, "ok");
    await this.ask("items");
    this.log("stats", null, "ok");
  }

  async flush() {
    await this.ask("flush");
  }

  async close() {
    this.library.end();
  }
}

class MemcacheClient extends Client {
  canBeQuiet = true;

  constructor(address, connections) {
    super();
    const { MemcacheClient: Library } = require("memcache-client");
    const server = { server: address, maxConnections: connections };
    this.library = new Library({ server, cmdTimeout: 60000, noDelay: true });
  }

  // What it answers, or the first word of the error that it throws.
  async ask(name, ...words) {
    try {
      return { answer: await this.library[name](...words) };
    } catch (error) {
      return { error: error.message.split(" ")[0].toLowerCase() };
    }
  }

  async doStore(op, key, value, ttl) {
    return (await this.ask(op, key, value, { lifetime: ttl })).error ?? "stored";
  }

  async doGet(key) {
    return (await this.ask("get", key)).answer?.value;
  }

  async doGetMany(keys) {
    const { answer } = await this.ask("get", keys);
    return Object.fromEntries(Object.entries(answer).map(([key, found]) => [key, found.value]));
  }

  async doGets(key) {
    const { answer } = await this.ask("gets", key);
    return { value: answer.value, unique: answer.casUniq };
  }

  async doCas(key, value, unique) {
    return (await this.ask("cas", key, value, { casUniq: unique, lifetime: 0 })).error ?? "stored";
  }

  async doDelete(key) {
    return (await this.ask("delete", key)).error ?? "deleted";
  }

  async doCount(op, key, by) {
    return (await this.ask(op, key, by)).error ?? "ok";
  }

  async doTouch(key, ttl) {
    return (await this.ask("touch", key, ttl)).error ?? "touched";
  }

  async more() {
    for (let number = 0; number < 30; number++) {
      const key = `main:quiet:${number % 7}`;
      const value = Buffer.alloc(number, "q");
      await this.library.set(key, value, { noreply: true });
      // Where none is said, it takes a minute.
      const sent = { value_size: number, ttl: 60, quiet: true, client_flags: 1 << 3 };
      this.log("set", key, "no_reply", sent);
      await this.get(key);
    }
    await this.library.version();
    this.log("version", null, "ok");
    await this.library.cmd("stats slabs");
    this.log("stats", null, "ok");
  }

  async flush() {
    await this.library.cmd("flush_all");
  }

  async close() {
    this.library.shutdown();
  }
}

const CLIENTS = { memjs: Memjs, memcached: Memcached, "memcache-client": MemcacheClient };

async function mainSequence(client) {
  for (const [number, size] of SIZES.entries()) {
    await client.store("set", `main:size:${size}`, "v".repeat(size), 300 * (number % 2));
    await client.get(`main:size:${size}`);
  }
  const [there, absent] = ["main:there", "main:absent"];
  await client.store("add", there, "added");
  await client.store("add", there, "not added");
  await client.store("replace", there, "replaced", 500);
  await client.store("replace", absent, "not replaced");
  await client.store("append", there, "<appended");
  await client.store("prepend", there, "prepended>");
  await client.get(there);
  await client.store("append", absent, "nowhere");
  await client.cas(there, "compared");
  await client.store("set", "main:counter", "10");
  for (const key of ["main:counter", "main:no-counter"]) {
    await client.count("incr", key, 5);
    await client.count("decr", key, 3);
  }
  for (let times = 0; times < 2; times++) {
    await client.delete(there);
    await client.get(there);
  }
  for (const ttl of [60, 60 * 60 * 24 * 30]) {
    await client.touch("main:size:20", ttl);
    await client.touch(absent, ttl);
  }
  for (const key of client.oddKeys) {
    await client.get(key);
    await client.store("set", key, "odd");
    await client.get(key);
    await client.delete(key);
  }
  const keys = Array.from({ length: 150 }, (_, number) => `main:many:${number}`);
  for (const [at, key] of keys.entries()) {
    if (at % 3 === 0) await client.store("set", key, "m".repeat(at));
  }
  await client.getMany(keys);
  await client.getMany(keys.slice(1, 3));
  await client.more();
  await client.flush();
  client.log("flush_all", null, "ok");
  await client.get("main:size:20");
}

// One of several that share connections: each waits for its replies.
async function strandSequence(client, number) {
  for (let turn = 0; turn < 40; turn++) {
    const key = `strand-${number}:${turn}`;
    await client.store("set", key, "s".repeat(turn * number));
    await client.get(key);
    await client.get(key + ":absent");
    await client.delete(key);
    await client.delete(key);
    await client.get(key);
  }
}

async function main([name, address, pool]) {
  const client = new CLIENTS[name](address, 1);
  await mainSequence(client);
  await client.close();
  // What there is of memjs has one connection.
  if (pool !== "--pool" || name === "memjs") return;
  const pooled = new CLIENTS[name](address, 2);
  const numbers = Array.from({ length: STRANDS }, (_, at) => at + 1);
  await Promise.all(numbers.map((number) => strandSequence(pooled.of(String(number)), number)));
  await pooled.close();
}

main(process.argv.slice(2));
