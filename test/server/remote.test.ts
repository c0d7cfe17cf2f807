/** What the server lets a connection of `cairn-kv/client` do: rights, tenants, limits; over `createServer` and a keys file. */
import { afterEach, describe, expect, test } from "vitest";
import { type ClientOptions, type Connection, connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { RoleRule } from "../../adapters/server/access/keys-format.ts";
import type { ServerConfig } from "../../adapters/server/config.ts";
import { createServer } from "../../adapters/server/index.ts";
import { lastBelow } from "../../adapters/server/remote/rights.ts";
import { codeOf, errorOf, open } from "../store/harness.ts";

const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Keys of tenants: "acme", "rival", and "whole", whose namespace is the store itself. A role is a list of rules, or "admin". */
async function served(roles: Record<string, [tenant: string, rules: RoleRule[] | "admin"]>, config: ServerConfig = {}) {
  const keys: Record<string, { tenant: string; role: string; sha256: string }> = {};
  const texts: Record<string, string> = {};
  for (const [name, [tenant, rules]] of Object.entries(roles)) {
    const { id, text, sha256 } = newApiKey();
    keys[id] = { tenant, role: rules === "admin" ? "admin" : name, sha256 };
    texts[name] = text;
  }
  const own = Object.entries(roles).filter(([, [, rules]]) => rules !== "admin");
  const file = {
    tenants: { acme: {}, rival: {}, whole: { namespace: "", operator: true } },
    roles: Object.fromEntries(own.map(([name, [, rules]]) => [name, rules as RoleRule[]])),
    keys,
  };
  const store = await open(":memory:", { history: { ms: 600_000 } });
  const server = createServer(store, { keys: file, logLevel: "silent", ...config });
  const { url } = await server.listen();
  ends.push(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  const as = async (name: string, options: ClientOptions = {}): Promise<Connection> => {
    const connection = await connect(url, { key: texts[name], pauseMs: 5, ...options });
    ends.push(() => connection.close());
    return connection;
  };
  return { store, server, url, as };
}

const every = (prefix: string): RoleRule[] => [{ verbs: ["read", "write", "delete", "range", "watch"], prefix }];

test("serves the client on the port of everything else, whatever the size", async () => {
  const { as, store, url } = await served({ one: ["acme", every("")] });
  const db = await as("one");
  const large = "é".repeat(6_000_000);
  const calls = [db.put("large", large), db.put("small", "1"), db.get("large"), db.get("small")];
  expect((await Promise.all(calls)).map((answer) => String(answer).length)).toEqual([4, 4, 6_000_000, 1]);
  expect(await codeOf(() => db.put("larger", "x".repeat(15_000_000)))).toBe("BATCH_SIZE");
  expect(store.sub("acme").get("small")).toBe("1");
  // Together they are more than an answer may have.
  await db.put("again", large);
  expect(await codeOf(() => db.getMany(["large", "again"]))).toBe("BATCH_SIZE");
  expect(await codeOf(() => connect(url, { key: "wrong" }))).toBe("FORBIDDEN");
});

describe("rights", () => {
  /** Every call that touches keys, on keys and ranges that begin with `prefix`. */
  const calls = (db: Connection, prefix: string): Record<string, () => Promise<unknown>> => {
    const key = `${prefix}x`;
    const range = { prefix };
    return {
      get: () => db.get(key),
      getEntry: () => db.getEntry(key),
      has: () => db.has(key),
      getMany: () => db.getMany([key]),
      set: () => db.set(key, "1"),
      put: () => db.put(key, "1"),
      increment: () => db.increment(key),
      append: () => db.append(key, "1"),
      patch: () => db.patch(key, 0, "1"),
      update: () => db.update(key, () => "1"),
      batch: () => db.batch([{ type: "put", key, value: "1" }]),
      batchDelete: () => db.batch([{ type: "del", key }]),
      builder: () => db.batch().set(key, "1").commit(),
      delete: () => db.delete(key),
      del: () => db.del(key),
      count: () => db.count(range),
      keys: () => db.keys(range).nextv(9),
      entries: () => db.entries(range).nextv(9),
      values: () => db.values(range).nextv(9),
      clear: () => db.clear(range),
      snapshotGet: async () => (await db.snapshot()).get(key),
      snapshotKeys: async () => (await db.snapshot()).keys(range).nextv(9),
      txGet: () => db.transact((tx) => tx.get(key)),
      txSet: () => db.transact((tx) => tx.set(key, "1")),
      txDelete: () => db.transact((tx) => tx.delete(key)),
      txCount: () => db.transact((tx) => tx.count(range)),
      txClear: () => db.transact((tx) => tx.clear(range)),
      watchKeys: () => begun(db, [key]),
      watchRange: () => begun(db, range),
    };
  };
  /** Begins a watch, and ends it: resolves when it was begun. */
  async function begun(db: Connection, what: never[] | object): Promise<void> {
    const watch = db.watch(what as never);
    const next = watch.next();
    await Promise.race([next, db.flush().then(() => db.flush())]);
    await watch.return();
    await next;
  }
  /** Which of the calls are allowed. */
  async function allowed(db: Connection, prefix: string): Promise<string[]> {
    const found: string[] = [];
    for (const [name, call] of Object.entries(calls(db, prefix))) {
      const code = await call().then(
        () => undefined,
        (error) => error.code as string,
      );
      if (code === undefined) found.push(name);
      else if (code !== "FORBIDDEN") throw new Error(`${name}: ${code}`);
    }
    return found;
  }

  test("each verb allows its calls and no other, on its prefix and nowhere else", async () => {
    const of = (verb: string): RoleRule[] => [{ verbs: [verb], prefix: "a:" } as RoleRule];
    const { as } = await served({
      read: ["acme", of("read")],
      write: ["acme", of("write")],
      delete: ["acme", of("delete")],
      range: ["acme", of("range")],
      watch: ["acme", of("watch")],
      all: ["acme", every("a:")],
    });
    const wanted: Record<string, string[]> = {
      read: ["get", "getEntry", "has", "getMany", "snapshotGet", "txGet"],
      write: ["set", "put", "append", "patch", "batch", "builder", "txSet"],
      delete: ["batchDelete", "delete", "del", "clear", "txDelete", "txClear"],
      range: ["count", "keys", "snapshotKeys", "txCount"],
      watch: ["watchKeys", "watchRange"],
    };
    for (const [role, names] of Object.entries(wanted)) {
      expect([role, (await allowed(await as(role), "a:")).sort()]).toEqual([role, names.sort()]);
    }
    const all = await as("all");
    expect(await allowed(all, "a:")).toEqual(Object.keys(calls(all, "")));
    for (const prefix of ["", "a", "b:", "a;"]) expect([prefix, await allowed(all, prefix)]).toEqual([prefix, []]);
    // Beyond its prefix, in a namespace of the tenant.
    expect(await allowed(all.sub("a:") as Connection, "a:")).toEqual([]);
    const mixed = all.batch().set("a:1", "1").set("b:1", "1").commit();
    expect(await codeOf(() => mixed)).toBe("FORBIDDEN");
    expect(await all.get("a:1")).toBe(undefined);
    for (const call of [() => all.stats(), () => all.compact(), () => all.verify(), () => all.backup().version]) {
      expect(await codeOf(call)).toBe("FORBIDDEN");
    }
  });

  test("a tenant sees nothing of another one's, nor of the store's own", async () => {
    const { as, store } = await served({
      acme: ["acme", "admin"],
      rival: ["rival", "admin"],
      plain: ["whole", every("")],
      root: ["whole", "admin"],
    });
    store.set("own", "1");
    const acme = await as("acme");
    const rival = await as("rival");
    await acme.set("mine", "1");
    await acme.sub("rival").set("inner", "1");
    expect(await rival.entries().nextv(9)).toEqual([]);
    expect(await rival.clear()).toBe(0);
    expect(await acme.count()).toBe(1);
    expect(store.sub("acme").sub("rival").get("inner")).toBe("1");
    for (const call of [() => acme.stats(), () => acme.compact(), () => acme.verify(), () => acme.backup().version]) {
      expect(await codeOf(call)).toBe("FORBIDDEN");
    }
    // Who has the store itself, but is no admin, gets at no namespace of it: by name, by bytes, by ranges.
    const plain = await as("plain");
    expect(await codeOf(() => plain.sub("acme").get("mine"))).toBe("FORBIDDEN");
    const bytes = (await as("plain", { keyEncoding: "binary" as never })) as unknown as Connection<Uint8Array>;
    const inside = Uint8Array.of(0xff, ...new TextEncoder().encode("acme"), 0xff, ...new TextEncoder().encode("mine"));
    expect(await codeOf(() => bytes.get(inside))).toBe("FORBIDDEN");
    expect(await codeOf(() => bytes.batch([{ type: "del", key: inside }]))).toBe("FORBIDDEN");
    expect((await bytes.keys().nextv(9)).length).toBe(1);
    expect((await bytes.keys({ gte: Uint8Array.of(0xff) }).nextv(9)).length).toBe(0);
    const watch = bytes.watch({}, { since: 0 });
    expect(new TextDecoder().decode((await watch.next()).value?.key)).toBe("own");
    const next = watch.next();
    await acme.put("mine", "2");
    await plain.put("other", "1");
    expect(new TextDecoder().decode((await next).value?.key)).toBe("other");
    expect(await bytes.clear()).toBe(2);
    expect(await acme.get("mine")).toBe("2");
    const root = await as("root");
    expect(await root.sub("acme").get("mine")).toBe("2");
    expect((await root.stats()).keyCount).toBe(2);
  });

  test("a server that only reads refuses every write", async () => {
    const { as, store } = await served({ one: ["whole", "admin"] }, { readOnly: true });
    store.set("a", "1");
    const db = await as("one");
    for (const call of [
      () => db.set("a", "2"),
      () => db.del("a"),
      () => db.increment("a"),
      () => db.clear(),
      () => db.compact(),
      () => db.batch().set("a", "2").commit(),
      () => db.transact((tx) => tx.set("a", "2")),
    ]) {
      expect(await codeOf(call)).toBe("READ_ONLY");
    }
    expect(await db.get("a")).toBe("1");
  });

  test("the last key below another one is the last", () => {
    const below = (...key: number[]) => [...lastBelow(Uint8Array.from(key))];
    expect(below(97, 0)).toEqual([97]);
    expect(below(97, 98).slice(0, 4)).toEqual([97, 97, 0xff, 0xff]);
    expect(below(97, 98).length).toBe(2048);
    expect(below()).toEqual([]);
  });
});

describe("limits", () => {
  test("what a connection holds is counted, and free again when it is ended", async () => {
    const { as } = await served({ one: ["whole", "admin"] });
    const db = await as("one");
    for (let i = 0; i < 200; i++) await db.set(`k${i}`, "");
    const snapshots = await Promise.all(Array.from({ length: 64 }, () => db.snapshot()));
    expect(await codeOf(() => db.snapshot())).toBe("OUT_OF_MEMORY");
    await snapshots[0]?.close();
    await (await db.snapshot()).close();
    const walks = Array.from({ length: 64 }, () => db.keys());
    await Promise.all(walks.map((walk) => walk.next()));
    expect(await codeOf(() => db.keys().next())).toBe("OUT_OF_MEMORY");
    await walks[0]?.return();
    await db.keys().next();
    const watches = Array.from({ length: 256 }, () => db.watch(["none"]));
    expect(await codeOf(() => db.watch(["none"]).next())).toBe("OUT_OF_MEMORY");
    for (const watch of watches) await watch.return();
    const open: (() => void)[] = [];
    const transactions = Array.from({ length: 33 }, () =>
      db.transact(() => new Promise<void>((resolve) => open.push(resolve))),
    );
    const last = errorOf(() => transactions[32]);
    expect((await last).code).toBe("OUT_OF_MEMORY");
    await expect.poll(() => open.length).toBe(32);
    for (const end of open) end();
    await Promise.all(transactions.slice(0, 32));
    expect(await codeOf(() => db.getMany(Array.from({ length: 65_537 }, () => "k")))).toBe("INVALID_ARGUMENT");
    const backup = db.backup();
    await backup.version;
    expect(await codeOf(() => db.backup().version)).toBe("OUT_OF_MEMORY");
    await backup.cancel();
    expect(await db.get("k1")).toBe("");
  });

  test("a tenant over its rate waits, and is not refused; another one is not held up", async () => {
    const { as } = await served(
      { one: ["acme", every("")], two: ["rival", every("")] },
      { limits: { tenant: { requestsPerSecond: 200, burst: 20 } } },
    );
    const [one, two] = [await as("one"), await as("two")];
    const start = performance.now();
    const many = Promise.all(Array.from({ length: 120 }, (_, i) => one.set(`k${i}`, "")));
    await two.get("a");
    const two100 = performance.now() - start;
    await many;
    const ms = performance.now() - start;
    expect(ms).toBeGreaterThan(450);
    expect(two100).toBeLessThan(ms);
    expect(await one.get("k119")).toBe("");
  });
});
