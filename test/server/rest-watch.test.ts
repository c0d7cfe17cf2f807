/** Changes as server-sent events. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { pause } from "../store/harness.ts";
import { KEYS, type Served, serve } from "./rest-harness.ts";

let served: Served;
beforeEach(async () => {
  served = await serve({ heartbeatMs: 40 });
});
afterEach(() => served.close());

interface Event {
  id?: string;
  event?: string;
  data?: { key: string; value?: string; version: number };
  comment?: string;
}

/** Reads events as a browser does. */
class Events {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private text = "";
  lastId = "";

  constructor(response: Response) {
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    this.reader = (response.body as ReadableStream<Uint8Array>).getReader();
  }

  /** The next event or comment; `undefined` at the end. */
  async block(): Promise<Event | undefined> {
    for (let at = this.text.indexOf("\n\n"); ; at = this.text.indexOf("\n\n")) {
      if (at >= 0) {
        const event: Event = {};
        for (const line of this.text.slice(0, at).split("\n")) {
          const colon = line.indexOf(":");
          const value = line.slice(colon + 1).trim();
          if (colon === 0) event.comment = value;
          else if (line.startsWith("id")) event.id = value;
          else if (line.startsWith("event")) event.event = value;
          else if (line.startsWith("data")) event.data = JSON.parse(value);
        }
        this.text = this.text.slice(at + 2);
        if (event.id !== undefined) this.lastId = event.id;
        return event;
      }
      const { done, value } = await this.reader.read();
      if (done) return undefined;
      this.text += new TextDecoder().decode(value);
    }
  }

  /** The next `count` events with data, each as `type key=value`. */
  async take(count: number): Promise<string[]> {
    const shown: string[] = [];
    while (shown.length < count) {
      const event = await this.block();
      if (event === undefined) throw new Error(`it ended after ${shown}`);
      if (event.data === undefined) continue;
      const { key, value } = event.data;
      shown.push(`${event.event} ${key}${value === undefined ? "" : `=${value}`}`);
    }
    return shown;
  }

  cancel(): Promise<void> {
    return this.reader.cancel();
  }
}

const watch = async (path: string, headers: Record<string, string> = {}) =>
  new Events(await served.ask(path, { headers }));

describe("a watch", () => {
  test("gives changes of its range as they become durable, and goes on where it was", async () => {
    const { operations, store } = { operations: served.tenants.operationsOf("one"), store: served.store.sub("one") };
    const events = await watch("/watch?prefix=a:");
    await operations.put("a:1", "1");
    await operations.put("b:1", "no");
    await operations.put("a:2", Uint8Array.of(0xff));
    await operations.delete("a:1");
    expect(await events.take(3)).toEqual(["set a:1=1", "set a:2=/w==", "delete a:1"]);
    const { lastId } = events;
    await events.cancel();
    await expect.poll(() => served.limits.connections).toBe(0);
    await operations.put("a:3", "3");
    await operations.put("a:3", "4");
    await operations.delete("a:2");
    const later = await watch("/watch?prefix=a:", { "last-event-id": lastId });
    expect(await later.take(2)).toEqual(["set a:3=4", "delete a:2"]);
    await later.cancel();
    const all = await watch("/watch?since=0");
    expect(await all.take(2)).toEqual(["set b:1=no", "set a:3=4"]);
    store.set("c", "5");
    await store.flush();
    expect(await all.take(1)).toEqual(["set c=5"]);
    await all.cancel();
  });

  test("that is cut within a batch sees the batch again", async () => {
    const store = served.store.sub("one");
    const events = await watch("/watch");
    await store.batch([1, 2, 3].map((i) => ({ type: "put" as const, key: `k${i}`, value: `${i}` })));
    expect(await events.take(2)).toEqual(["set k1=1", "set k2=2"]);
    const { lastId } = events;
    await events.cancel();
    const again = await watch("/watch", { "last-event-id": lastId });
    expect(await again.take(3)).toEqual(["set k1=1", "set k2=2", "set k3=3"]);
    await again.cancel();
  });

  test("sends comments while nothing happens, with the version to go on from", async () => {
    const events = await watch("/watch?prefix=a:");
    await served.tenants.operationsOf("one").put("b", "elsewhere");
    const { version } = served.tenants.operationsOf("one");
    await expect.poll(async () => (await events.block())?.id, { interval: 1 }).toBe(String(version));
    await events.cancel();
  });

  test("of a token tells what it subscribes to, and may come in the address", async () => {
    const principal = served.principal("admin");
    const { token } = served.access.issueToken(principal, { subscribePatterns: ["a:*"], accessPattern: "^x$" });
    const events = new Events(await served.ask(`/watch?token=${token}`, { as: null }));
    const operations = served.tenants.operationsOf("one");
    for (const key of ["b:1", "a:1", "x", "a:2"]) await operations.put(key, "v");
    expect(await events.take(2)).toEqual(["set a:1=v", "set a:2=v"]);
    await events.cancel();
    for (const path of [`/watch?token=${KEYS.admin.text}`, "/watch?token=", "/watch", `/record/x?token=${token}`]) {
      await served.json(path, { as: null, status: 401 });
    }
  });

  test("is refused with 410 for a version that is none, 400 for what is no version, 429 for too many", async () => {
    await served.json("/watch?since=999999999", { status: 410 });
    for (const id of ["x", "-1", "1.5", "99999999999999999999"]) {
      await served.json("/watch", { headers: { "last-event-id": id }, status: 400 });
    }
    await served.json("/watch?reverse=true", { status: 400 });
    served.limits.connectionsMax = 1;
    const events = await watch("/watch");
    await served.json("/watch", { status: 429 });
    await events.cancel();
    await expect.poll(() => served.limits.connections).toBe(0);
  });

  test("keeps a slow reader's memory bounded, and gives it each key's latest change", async () => {
    const events = await watch("/watch");
    await events.block();
    const store = served.store.sub("one");
    const value = "v".repeat(10_000);
    for (let i = 0; i < 3000; i++) {
      store.set(`k${i % 10}`, `${i}:${value}`);
      if (i % 100 === 0) await store.flush();
    }
    await store.flush();
    const last = new Map<string, string>();
    let count = 0;
    while (last.get("k9")?.startsWith("2999:") !== true) {
      const event = await events.block();
      if (event?.data === undefined) continue;
      last.set(event.data.key, event.data.value ?? "");
      count++;
    }
    expect([...last.values()].map((text) => text.slice(0, 4)).sort()).toEqual(
      Array.from({ length: 10 }, (_, i) => `299${i}`),
    );
    expect(count).toBeLessThan(1500);
    await events.cancel();
  });

  test("ends in order when the server closes", async () => {
    const events = await watch("/watch");
    await events.block();
    const end = (async () => {
      while ((await events.block()) !== undefined);
    })();
    await pause(5);
    await served.close();
    await end;
    expect(served.limits.connections).toBe(0);
    served = await serve();
  });
});

test("over a socket, the reader's going frees what a watch holds", async () => {
  const url = await served.listen();
  const control = new AbortController();
  const response = await fetch(`${url}/watch`, { headers: { "x-api-key": KEYS.admin.text }, signal: control.signal });
  const events = new Events(response);
  await served.tenants.operationsOf("one").put("k", "v");
  expect(await events.take(1)).toEqual(["set k=v"]);
  expect(served.limits.connections).toBe(1);
  control.abort();
  await expect.poll(() => served.limits.connections).toBe(0);
});

test("ends when its key is revoked", async () => {
  const principal = served.principal("reader");
  const revoking = new AbortController();
  const shown = {
    id: principal.id,
    tenant: principal.tenant,
    may: principal.may.bind(principal),
    mayRange: principal.mayRange.bind(principal),
    mayAll: principal.mayAll.bind(principal),
    subscribes: undefined,
    revoked: revoking.signal,
  };
  const events = new Events(await served.handler(new Request("http://cairn.test/watch"), {}, shown));
  await events.block();
  const end = (async () => {
    while ((await events.block()) !== undefined);
  })();
  revoking.abort();
  await end;
  expect(served.limits.connections).toBe(0);
});
