/** `readOnly`: every write over every protocol is refused, and reads go on. */
import { expect, onTestFinished, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { createServer } from "../../adapters/server/index.ts";
import { StoreOperations } from "../../adapters/server/operations/store-operations.ts";
import { withoutWrites } from "../../adapters/server/read-only.ts";
import { openOfRuntime } from "../runtime.ts";
import { codeOf } from "../store/harness.ts";
import { rawSocket } from "./raw-socket.ts";
import { batch, integer, joined, operation, RiocClient } from "./rioc-client.ts";

const open = await openOfRuntime();
const REFUSAL = "The server takes no writes.";

async function served() {
  const key = newApiKey();
  const keys = {
    tenants: { home: { namespace: "" } },
    keys: { [key.id]: { tenant: "home", role: "admin", sha256: key.sha256 } },
  };
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  await store.put("a", "1");
  const { version } = store;
  const server = createServer(store, { keys, readOnly: true, riocPort: 0, riocTenant: "home", log: () => {} });
  onTestFinished(async () => {
    expect([store.get("a"), store.version]).toEqual(["1", version]);
    await server.close({ graceMs: 0 });
    await store.close();
  });
  return { ...(await server.listen()), key: key.text };
}

test("over REST, record by record, as a bulk load, and by range", async () => {
  const { url, key } = await served();
  const ask = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { "x-api-key": key, ...headers },
      body: body ?? null,
    });
    return [response.status, await response.text()] as const;
  };
  const json = { "content-type": "application/json" };
  const writes = [
    await ask("POST", "/record", '{"key":"a","value":"2"}', json),
    await ask("POST", "/record", '{"key":"a","value":"2","partialUpdate":true}', json),
    await ask("POST", "/record/atomic", '{"key":"a","increment":1}', json),
    await ask("POST", "/record/atomic", '{"key":"a","increment":1}', { ...json, "if-match": '"1"' }),
    await ask("PUT", "/record/a", "2", { "content-type": "text/plain" }),
    await ask("PUT", "/record?key=a", "2", { "content-type": "text/plain", "if-none-match": "*" }),
    await ask("DELETE", "/record/a"),
    await ask("DELETE", "/record?key=a"),
    await ask("DELETE", "/records?start=a&end=z"),
  ];
  for (const [status, text] of writes) expect([status, text]).toEqual([403, expect.stringContaining(REFUSAL)]);
  const [status, text] = await ask("POST", "/records", '{"key":"a","value":"2"}\n{"key":"b","value":"2"}\n', {
    "content-type": "application/x-ndjson",
  });
  expect([status, JSON.parse(text)]).toMatchObject([
    400,
    { stored: 0, failed: 2, failures: [{ status: 403 }, { status: 403 }] },
  ]);
  expect(await ask("GET", "/record/a")).toEqual([200, expect.stringContaining('"1"')]);
  expect((await ask("GET", "/records?start=a&end=z"))[0]).toBe(200);
});

test("over WebSocket", async () => {
  const { url, key } = await served();
  const socket = await rawSocket(`${url}/ws?apiKey=${key}`);
  for (const request of [
    { op: 2, key: "a", value: "2" },
    { op: 3, key: "a", value: "2" },
    { op: 4, key: "a" },
    { op: 6, key: "a", value: 1 },
  ]) {
    expect(await socket.ask(request)).toMatchObject({ code: 403, error: REFUSAL });
  }
  expect(await socket.ask({ op: 1, key: "a" })).toMatchObject({ value: "1" });
  socket.close();
});

test("over RIOC, with the status of what is not allowed", async () => {
  const { riocPort } = await served();
  const client = await RiocClient.open(riocPort as number);
  const writes = [operation(2, "a", "2"), operation(3, "a"), operation(4, "a", "2"), operation(7, "a", integer(1n))];
  for (const write of writes) {
    await client.send(joined(batch(1), write));
    expect(await client.reply()).toMatchObject({ status: -1, size: 0 });
  }
  await client.send(joined(batch(1), operation(1, "a")));
  expect(await client.reply()).toMatchObject({ status: 0, size: 1 });
  await client.close();
});

test("over the client's connection", async () => {
  const { url, key } = await served();
  const client = await connect(url, { key });
  const writes: (() => Promise<unknown>)[] = [
    () => client.put("a", "2"),
    () => client.set("a", "2"),
    () => client.delete("a"),
    () => client.append("a", "2"),
    () => client.increment("a"),
    () => client.clear(),
    () => client.batch([{ type: "put", key: "a", value: "2" }]),
    () => client.compact(),
    () => client.transact(async (tx) => void (await tx.set("a", "2"))),
  ];
  for (const write of writes) expect([write.toString(), await codeOf(write)]).toEqual([write.toString(), "READ_ONLY"]);
  expect(await client.get("a")).toBe("1");
  await client.close();
});

test("whatever operations there are, each is known to write or to read", async () => {
  const reads = [
    "constructor",
    "get",
    "getBytes",
    "getEntry",
    "getEntrySoon",
    "getEntryAt",
    "range",
    "walk",
    "count",
    "snapshot",
    "watch",
    "version",
    "versionOf",
    // Within the class.
    "exact",
    "exactEntry",
    "boundsOf",
    "checked",
    "patchIn",
    "patchOver",
    "putPatched",
  ];
  const writes: string[] = [];
  for (const name of Object.getOwnPropertyNames(StoreOperations.prototype)) {
    if (reads.includes(name)) continue;
    writes.push(name);
    const operations = withoutWrites(Object.create(StoreOperations.prototype)) as unknown as Record<
      string,
      () => unknown
    >;
    await expect((operations[name] as () => unknown)()).rejects.toMatchObject({ status: 403, message: REFUSAL });
  }
  expect(writes.sort()).toEqual(["delete", "deleteRange", "increment", "incrementIf", "patch", "patchIf", "put"]);
});
