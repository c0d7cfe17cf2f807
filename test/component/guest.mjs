/**
 * A program that uses the component, on whichever runtime runs it: `guest.mjs <transpiled> <folder> <scenario> <JSON>`.
 * It sees `folder` as `/data`, and prints what the scenario gives as one line of JSON.
 */
import { readFileSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { faultScenarios } from "./fault-scenarios.mjs";
import { record } from "./records.mjs";

const [transpiled = "", folder = "", scenario = "", input = "null"] = process.argv.slice(2);
const SHIM = new URL("../peers/node_modules/@bytecodealliance/preview2-shim/dist/", import.meta.url);

const EVERYTHING = { lower: { tag: "none" }, upper: { tag: "none" }, prefix: undefined, reverse: false };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @param {string} text */
const bytes = (text) => encoder.encode(text);
/** @param {Uint8Array | undefined} found */
const text = (found) => (found === undefined ? null : decoder.decode(found));

/**
 * The transpiled component over the shim.
 *
 * @param {Record<string, string>} preopens
 * @returns {Promise<any>}
 */
async function instantiate(preopens = { "/data": folder }) {
  const { WASIShim } = await import(new URL("common/instantiation.js", SHIM).href);
  const { instantiate } = await import(pathToFileURL(`${transpiled}/cairn.js`).href);
  const shim = new WASIShim({ sandbox: { preopens } });
  return instantiate(
    /** @param {string} name */
    (name) => WebAssembly.compile(readFileSync(`${transpiled}/${name}`)),
    shim.getImportObject(),
  );
}

/**
 * What a call throws, as its code and message, or `null`.
 *
 * @param {() => unknown} call
 */
function failureOf(call) {
  try {
    call();
    return null;
  } catch (/** @type {any} */ error) {
    if (error?.payload === undefined) throw error;
    const { payload } = error;
    return JSON.parse(JSON.stringify(payload, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
  }
}

/** @param {any} component */
function interfacesOf(component) {
  return {
    Store: component["cairn:kv/store@0.1.0"].Store,
    buckets: component["wasi:keyvalue/store@0.2.0-draft2"],
    atomics: component["wasi:keyvalue/atomics@0.2.0-draft2"],
    batch: component["wasi:keyvalue/batch@0.2.0-draft2"],
  };
}

const OPTIONS = { create: true, readOnly: false, durability: "interval" };

/** @type {Record<string, (component: any, input: any) => unknown>} */
const SCENARIOS = {
  /** Writes records `from` to `to`, deletes every ninth of them, closes. */
  write(component, { name, from, to, mark, durability = "interval" }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, { ...OPTIONS, durability });
    for (let i = from; i < to; i++) store.set(...record(i, mark));
    const deleted = [];
    for (let i = from; i < to; i += 9) deleted.push(store.delete(record(i, mark)[0]));
    const count = Number(store.count(EVERYTHING));
    store.close();
    return { count, deleted: deleted.every(Boolean), again: failureOf(() => store.has(bytes("a")))?.code };
  },

  /** Writes `rounds` times over `count` keys, values of `size` bytes: the size of the file, and what is wrong then. */
  overwrite(component, { name, count, rounds, size }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, OPTIONS);
    const value = (/** @type {number} */ round, /** @type {number} */ i) => bytes(`${round},${i}`.padEnd(size, "."));
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < count; i++) store.set(bytes(`key ${i}`), value(round, (i * 7) % count));
    }
    const fileSize = statSync(`${folder}/${name}`).size;
    store.close();
    const again = Store.open(`/data/${name}`, { ...OPTIONS, create: false });
    let wrong = 0;
    for (let i = 0; i < count; i++) {
      if (Buffer.compare(again.get(bytes(`key ${i}`)), value(rounds - 1, (i * 7) % count)) !== 0) wrong++;
    }
    const keyCount = Number(again.count(EVERYTHING));
    again.close();
    return { fileSize, wrong, keyCount };
  },

  /** Reads records `from` to `to` and walks all, both ways. */
  read(component, { name, from, to, mark }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, { ...OPTIONS, create: false });
    const wrong = [];
    let there = 0;
    for (let i = from; i < to; i++) {
      const [key, value] = record(i, mark);
      const found = store.get(key);
      if (found === undefined) continue;
      there++;
      if (Buffer.compare(found, value) !== 0) wrong.push(i);
    }
    const walks = [false, true].map((reverse) => {
      const cursor = store.scan({ ...EVERYTHING, reverse });
      const keys = [];
      let size = 0;
      for (let entries = cursor.next(100); entries.length > 0; entries = cursor.next(100)) {
        for (const { key, value } of entries) {
          keys.push(Buffer.from(key).toString("hex"));
          size += value.length;
        }
      }
      return { keys, size };
    });
    const { keys } = store.stats();
    store.close();
    return { there, wrong, walks, keyCount: Number(keys) };
  },

  /** Ranges over `a00` to `a99`: the keys of each, and how many there are. */
  ranges(component, ranges) {
    const { Store } = interfacesOf(component);
    const store = Store.open("/data/ranges.cairn", OPTIONS);
    for (let i = 0; i < 100; i++) store.set(bytes(`a${String(i).padStart(2, "0")}`), bytes(`${i}`));
    store.set(Uint8Array.from([255]), bytes("last"));
    store.set(Uint8Array.from([255, 255]), bytes("very last"));
    return ranges.map((/** @type {any} */ given) => {
      const bound = (/** @type {any} */ end) =>
        end === undefined ? { tag: "none" } : { tag: end[0], val: Uint8Array.from(Buffer.from(end[1], "latin1")) };
      const range = {
        lower: bound(given.lower),
        upper: bound(given.upper),
        prefix: given.prefix === undefined ? undefined : Uint8Array.from(Buffer.from(given.prefix, "latin1")),
        reverse: given.reverse === true,
      };
      const keys = store
        .scan(range)
        .next(1024)
        .map((/** @type {any} */ entry) => Buffer.from(entry.key).toString("latin1"));
      return { keys, count: Number(store.count(range)) };
    });
  },

  /** A cursor goes on over what it began with, whatever is written meanwhile. */
  snapshot(component) {
    const { Store } = interfacesOf(component);
    const store = Store.open("/data/snapshot.cairn", OPTIONS);
    for (const key of ["a", "b", "c"]) store.set(bytes(key), bytes(`old ${key}`));
    const cursor = store.scan(EVERYTHING);
    store.set(bytes("b"), bytes("new b"));
    store.delete(bytes("c"));
    store.set(bytes("d"), bytes("new d"));
    const seen = cursor.next(10).map((/** @type {any} */ entry) => text(entry.value));
    const end = cursor.next(10).length;
    const open = Number(store.stats().openCursors);
    cursor[Symbol.dispose]();
    const now = store
      .scan(EVERYTHING)
      .next(10)
      .map((/** @type {any} */ entry) => text(entry.value));
    return { seen, end, open, now, bad: failureOf(() => store.scan(EVERYTHING).next(0)) };
  },

  /** Buckets, counters, compare-and-swap, batches. */
  keyvalue(component) {
    const { buckets, atomics, batch } = interfacesOf(component);
    const one = buckets.open("one");
    const two = buckets.open("two");
    buckets.open("one more").set("color", bytes("white"));
    buckets.open("on").set("e", bytes("black"));
    one.set("color", bytes("red"));
    one.set("naïve ключ", bytes("text"));
    two.set("color", bytes("blue"));
    const first = atomics.Cas.new(one, "color");
    const second = atomics.Cas.new(one, "color");
    const seen = text(first.current());
    atomics.swap(first, bytes("green"));
    let lost;
    try {
      atomics.swap(second, bytes("never"));
    } catch (/** @type {any} */ error) {
      lost = error.payload;
    }
    const between = text(one.get("color"));
    atomics.swap(lost.val, bytes("yellow"));
    const absent = atomics.Cas.new(one, "fresh");
    const absentSeen = absent.current() ?? null;
    atomics.swap(absent, bytes("made"));
    batch.setMany(two, [
      ["a", bytes("1")],
      ["b", new Uint8Array(400_000).fill(9)],
      ["color", bytes("violet")],
    ]);
    const many = batch
      .getMany(two, ["b", "nothing", "color"])
      .map((/** @type {any} */ pair) => (pair === undefined ? null : [pair[0], pair[1].length]));
    const counts = [5n, -12n, 9223372036854775807n].map((by) => String(atomics.increment(one, "n", by)));
    for (const by of [-9223372036854775807n, -1n, 8n]) counts.push(String(atomics.increment(two, "least", by)));
    const outOfRange = failureOf(() => atomics.increment(one, "n", 9223372036854775807n));
    const notANumber = failureOf(() => atomics.increment(one, "color", 1n));
    batch.deleteMany(two, ["a", "nothing"]);
    const bucket = buckets.open("many");
    batch.setMany(
      bucket,
      Array.from({ length: 1200 }, (_, i) => [`k${i}`, bytes("")]),
    );
    const pages = [];
    let cursor;
    do {
      /** @type {any} */
      const page = bucket.listKeys(cursor);
      pages.push(page.keys.length);
      cursor = page.cursor;
    } while (cursor !== undefined);
    one.delete("naïve ключ");
    one.delete("naïve ключ");
    return {
      seen,
      lost: lost.tag,
      between,
      absentSeen,
      color: text(one.get("color")),
      exists: [one.exists("fresh"), one.exists("naïve ключ"), two.exists("fresh")],
      many,
      counts,
      outOfRange,
      notANumber,
      keys: [one.listKeys(undefined).keys, two.listKeys(undefined).keys],
      pages,
      badName: failureOf(() => buckets.open("a\0b")),
      longKey: failureOf(() => one.set("k".repeat(2045), bytes(""))),
    };
  },

  /** All keys of some buckets. */
  list(component, names) {
    const { buckets } = interfacesOf(component);
    return names.map((/** @type {string} */ name) => {
      const bucket = buckets.open(name);
      const keys = [];
      let cursor;
      do {
        /** @type {any} */
        const page = bucket.listKeys(cursor);
        keys.push(...page.keys);
        cursor = page.cursor;
      } while (cursor !== undefined);
      return keys;
    });
  },

  /** Opens paths, each with an instance of its own that sees the folders `preopens`: codes, or `null`. */
  async paths(_, cases) {
    const codes = [];
    for (const { preopens, path } of cases) {
      const { Store, buckets } = interfacesOf(await instantiate(preopens));
      codes.push(
        path === undefined
          ? failureOf(() => buckets.open("b"))?.tag
          : (failureOf(() => Store.open(path, OPTIONS).close())?.code ?? null),
      );
    }
    return codes;
  },

  /** What opening a bucket says. */
  bucket(component) {
    return failureOf(() => interfacesOf(component).buckets.open("b"));
  },

  /** What refuses to open, and how. */
  refusals(component, names) {
    const { Store } = interfacesOf(component);
    return names.map((/** @type {string} */ name) =>
      failureOf(() => Store.open(name, { ...OPTIONS, create: false }).close()),
    );
  },

  /** Bad arguments, and calls in the wrong order. */
  misuse(component) {
    const { Store } = interfacesOf(component);
    const store = Store.open("/data/misuse.cairn", OPTIONS);
    const key = bytes("k");
    const sizes = [
      failureOf(() => store.set(new Uint8Array(0), key)),
      failureOf(() => store.set(new Uint8Array(2049), key)),
      failureOf(() => store.get(new Uint8Array(2049))),
      failureOf(() => store.set(key, new Uint8Array(64 * 1024 * 1024 + 1))),
    ];
    const largest = failureOf(() => store.set(new Uint8Array(2048).fill(1), key));
    const second = failureOf(() => Store.open("/data/other.cairn", OPTIONS));
    const cursor = store.scan(EVERYTHING);
    store.close();
    const closed = [
      failureOf(() => store.get(key)),
      failureOf(() => store.flush()),
      failureOf(() => cursor.next(1)),
      failureOf(() => store.close()),
    ];
    const next = Store.open("/data/misuse.cairn", OPTIONS);
    const kept = next.has(new Uint8Array(2048).fill(1));
    const stale = failureOf(() => store.get(key));
    next.close();
    const reader = Store.open("/data/misuse.cairn", { ...OPTIONS, readOnly: true });
    const written = [
      failureOf(() => reader.set(key, key)),
      failureOf(() => reader.delete(new Uint8Array(2048).fill(1))),
    ];
    reader[Symbol.dispose]();
    const dropped = Store.open("/data/misuse.cairn", OPTIONS);
    dropped.set(key, key);
    dropped[Symbol.dispose]();
    const last = Store.open("/data/misuse.cairn", OPTIONS);
    return { sizes, largest, second, closed, kept, stale, written, dropKept: last.has(key) };
  },

  /** Holds a store, says so, and goes on when its standard input ends: then writes. */
  async hold(component, { name }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, OPTIONS);
    store.putDurable(bytes("held"), bytes("before"));
    console.log("holding");
    for await (const _ of process.stdin) break;
    const write = failureOf(() => store.putDurable(bytes("held"), bytes("after")));
    const next = failureOf(() => store.get(bytes("held")));
    return { write, next, close: failureOf(() => store.close()) };
  },

  /** Makes a call every 100 ms until it is killed. */
  async busy(component, { name }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, OPTIONS);
    console.log("busy");
    for (;;) {
      store.has(bytes("x"));
      await new Promise((done) => setTimeout(done, 100));
    }
  },

  /** Writes durably until it is killed, and says what was acknowledged. */
  forever(component, { name }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, OPTIONS);
    for (let i = 0; ; i++) {
      store.putDurable(bytes(`key ${i}`), bytes(`value ${i}`.repeat(50)));
      console.log(String(i));
    }
  },

  /** Writes until there is no room, says how many went in, and that they can be read; closes. */
  fill(component, { name }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, { ...OPTIONS, durability: "sync" });
    let count = 0;
    let failure = null;
    while (failure === null && count < 1000) {
      failure = failureOf(() => store.set(bytes(`key ${count}`), bytes(`${count}`.repeat(9000))));
      if (failure === null) count++;
    }
    let readable = 0;
    for (let i = 0; i < count; i++) if (text(store.get(bytes(`key ${i}`))) === `${i}`.repeat(9000)) readable++;
    return { count, failure, readable, keys: Number(store.count(EVERYTHING)), close: failureOf(() => store.close()) };
  },

  /** How many of the writes of `forever` are there, without a gap, and nothing else. */
  prefix(component, { name }) {
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, OPTIONS);
    let count = 0;
    while (text(store.get(bytes(`key ${count}`))) === `value ${count}`.repeat(50)) count++;
    const all = Number(store.count(EVERYTHING));
    store.close();
    return all === count ? count : -1;
  },

  /** A WASI that transfers at most 1,000 bytes at a time. */
  async short(component) {
    const { filesystem } = await import(new URL("nodejs/index.js", SHIM).href);
    const { prototype } = filesystem.types.Descriptor;
    const { read, write } = prototype;
    let calls = 0;
    prototype.read = function (/** @type {bigint} */ size, /** @type {bigint} */ offset) {
      calls++;
      return read.call(this, size > 1000n ? 1000n : size, offset);
    };
    prototype.write = function (/** @type {Uint8Array} */ source, /** @type {bigint} */ offset) {
      calls++;
      return write.call(this, source.subarray(0, 1000), offset);
    };
    const written = await SCENARIOS["write"]?.(component, { name: "short.cairn", from: 0, to: 60, mark: "s" });
    return {
      written,
      calls,
      read: await SCENARIOS["read"]?.(component, { name: "short.cairn", from: 0, to: 60, mark: "s" }),
    };
  },

  /** A host that throws out of a write leaves a store that refuses everything, and a component that opens it again. */
  async thrown(component, { name }) {
    const { filesystem } = await import(new URL("nodejs/index.js", SHIM).href);
    const { Store } = interfacesOf(component);
    const store = Store.open(`/data/${name}`, OPTIONS);
    store.putDurable(bytes("kept"), bytes("kept"));
    const { prototype } = filesystem.types.Descriptor;
    const { write } = prototype;
    prototype.write = () => {
      throw new Error("the host is broken");
    };
    let cause = "";
    try {
      store.putDurable(bytes("lost"), bytes("lost"));
    } catch (error) {
      cause = String(error);
    }
    prototype.write = write;
    const after = [
      failureOf(() => store.get(bytes("kept"))),
      failureOf(() => store.putDurable(bytes("x"), bytes("x"))),
    ];
    store.close();
    const next = Store.open(`/data/${name}`, OPTIONS);
    const found = [text(next.get(bytes("kept"))), text(next.get(bytes("lost")))];
    next.close();
    return { cause, after, found };
  },

  /** Keys, names and values that are too large, and what is no number: tags and codes, in the order of the calls. */
  refusedCalls(component) {
    const { buckets, atomics, batch } = interfacesOf(component);
    const large = "k".repeat(2046);
    const larger = "k".repeat(3000);
    const one = buckets.open("one");
    const least = buckets.open("");
    const big = new Uint8Array(64 * 1024 * 1024 + 1);
    const cas = atomics.Cas.new(one, "cas");
    const late = atomics.Cas.new(one, "late");
    one.set("text", bytes("12a"));
    const numbers = ["", "-", "1".repeat(21), "9223372036854775808"].map((number, i) => {
      one.set(`number ${i}`, bytes(number));
      return failureOf(() => atomics.increment(one, `number ${i}`, 1n))?.tag;
    });
    const keys = [
      () => one.get(large),
      () => one.set(large, bytes("")),
      () => one.delete(large),
      () => one.exists(large),
      () => one.listKeys(large),
      () => one.get(larger),
      () => batch.getMany(one, [larger]),
      () => atomics.increment(one, large, 1n),
      () => atomics.Cas.new(one, large),
      () => batch.getMany(one, ["text", large]),
      () =>
        batch.setMany(one, [
          ["a", bytes("a")],
          [large, bytes("")],
        ]),
      () => batch.deleteMany(one, ["text", large]),
      () => buckets.open("n".repeat(2048)),
    ].map((call) => failureOf(call)?.tag);
    const values = [
      () => one.set("big", big),
      () =>
        batch.setMany(one, [
          ["a", bytes("a")],
          ["big", big],
        ]),
      () => atomics.swap(cas, big),
    ].map((call) => failureOf(call)?.tag);
    batch.setMany(one, []);
    batch.deleteMany(one, []);
    least.set("k", bytes("of the least bucket"));
    const absent = one.get("absent") ?? null;
    one[Symbol.dispose]();
    return { numbers, keys, values, absent, late: late.current() ?? null, empty: least.listKeys(undefined).keys };
  },

  /** Ranges, keys and durabilities of the store that the other scenarios leave out. */
  edges(component, { name }) {
    const { Store } = interfacesOf(component);
    const path = `/data/${name}`;
    const manual = Store.open(`//data///${name}`.slice(1), { ...OPTIONS, durability: "manual" });
    const key = bytes("k");
    const long = new Uint8Array(2049);
    manual.set(key, bytes("v"));
    manual.set(bytes("large"), new Uint8Array(300_000).fill(7));
    manual.flush();
    const refused = [
      () => manual.has(long),
      () => manual.get(long),
      () => manual.delete(long),
      () => manual.deleteDurable(long),
      () => manual.putDurable(long, key),
      () => manual.scan({ ...EVERYTHING, prefix: long }),
      () => manual.scan({ ...EVERYTHING, lower: { tag: "included", val: long } }),
      () => manual.scan({ ...EVERYTHING, upper: { tag: "excluded", val: long } }),
      () => manual.count({ ...EVERYTHING, prefix: long }),
      () => manual.scan({ ...EVERYTHING, lower: { tag: "excluded", val: new Uint8Array(2048).fill(255) } }).next(1),
    ].map((call) => failureOf(call)?.code ?? null);
    const all = manual.scan({ ...EVERYTHING, prefix: new Uint8Array(0) });
    const entries = [...all.next(10), ...all.next(10)].map((/** @type {any} */ entry) => entry.value.length);
    const open = manual.scan(EVERYTHING);
    manual.close();
    open[Symbol.dispose]();
    const closed = [
      () => manual.scan(EVERYTHING),
      () => manual.count(EVERYTHING),
      () => manual.stats(),
      () => manual.delete(key),
      () => manual.has(key),
    ].map((call) => failureOf(call)?.code);
    manual[Symbol.dispose]();
    const reader = Store.open(path, { ...OPTIONS, readOnly: true });
    reader.flush();
    const readOnly = failureOf(() => reader.putDurable(key, key))?.code;
    const missing = [failureOf(() => reader.get(bytes("absent"))), failureOf(() => Store.open(path, OPTIONS))?.code];
    reader.close();
    return { refused, entries, closed, readOnly, missing };
  },

  /**
   * Fails each call of the file system in turn, with an error code of WASI: the code of each refusal, and what was acknowledged
   * and is not there afterwards.
   */
  async failing(component, { name, error, stride, first, method }) {
    const { filesystem } = await import(new URL("nodejs/index.js", SHIM).href);
    const { Store } = interfacesOf(component);
    const { prototype } = filesystem.types.Descriptor;
    let count = 0;
    let failsAt = Number.POSITIVE_INFINITY;
    for (const each of Object.getOwnPropertyNames(prototype)) {
      const call = Object.getOwnPropertyDescriptor(prototype, each)?.value;
      if (each === "constructor" || typeof call !== "function" || (method !== undefined && each !== method)) continue;
      prototype[each] = function (/** @type {any[]} */ ...given) {
        if (count++ === failsAt) throw error;
        return call.apply(this, given);
      };
    }
    /** @type {Map<string, string>} */
    const durable = new Map();
    const codes = new Set();
    const lost = [];
    let lives = 0;
    for (let at = first; ; at += stride) {
      count = 0;
      failsAt = at;
      const path = `/data/${name}-${lives % 3 === 0 ? lives : "again"}`;
      if (lives % 3 === 0) durable.clear();
      const note = (/** @type {() => unknown} */ call) => {
        const failure = failureOf(call);
        if (failure !== null) codes.add(failure.code ?? failure.tag);
        return failure === null;
      };
      /** @type {any} */
      let store;
      note(() => {
        store = Store.open(path, { ...OPTIONS, durability: lives % 2 === 0 ? "interval" : "sync" });
      });
      if (store !== undefined) {
        for (let i = 0; i < 12; i++) {
          const value = `${lives} ${i} `.repeat(i % 4 === 3 ? 40_000 : 50);
          if (note(() => store.putDurable(bytes(`${path} ${i}`), bytes(value)))) durable.set(`${path} ${i}`, value);
          else durable.delete(`${path} ${i}`);
        }
        note(() => store.get(bytes(`${path} 3`)));
        note(() => store.deleteDurable(bytes("absent")));
        note(() => {
          const cursor = store.scan(EVERYTHING);
          while (cursor.next(5).length > 0);
        });
        note(() => store.flush());
        note(() => store.close());
      }
      const reached = count > at;
      failsAt = Number.POSITIVE_INFINITY;
      const again = Store.open(path, OPTIONS);
      for (const [key, value] of durable) {
        if (key.startsWith(`${path} `) && text(again.get(bytes(key))) !== value) lost.push(key);
      }
      again.close();
      lives++;
      if (!reached) return { lives, codes: [...codes].sort(), lost };
    }
  },
};

const tools = { folder, instantiate, interfacesOf, failureOf, bytes, text, OPTIONS, EVERYTHING };
const run = { ...SCENARIOS, ...faultScenarios(tools) }[scenario];
if (run === undefined) throw new Error(`no scenario ${scenario}`);
console.log(JSON.stringify(await run(await instantiate(), JSON.parse(input))));
process.exit(0);
