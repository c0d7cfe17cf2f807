/** Several workers over one store, each reached on a connection of its own: what one was told is there for all, and limits are those of one server. */
import { writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { type HttpLine, linesToAll } from "./lines.ts";
import { type RawSocket, rawSocket, upgradedSocket } from "./raw-socket.ts";
import { batch, joined, operation, RiocClient } from "./rioc-client.ts";
import { addKey, cairn, fresh, keysFile, Serving } from "./serving.ts";

const WORKERS = 3;

let keys: string;
let key: string;
let audit: string;
let serving: Serving;
let url: string;
let lines: HttpLine[];

beforeAll(async () => {
  ({ keys, key } = keysFile());
  audit = fresh("audit.log");
  const config = fresh("config.json");
  const limited = { requestsPerSecond: 40, burst: 20, connections: 6 };
  writeFileSync(config, JSON.stringify({ keys, limits: { tenant: { connections: 1000 } } }));
  // The tenant `small` has limits of its own, in the keys file.
  addKey(keys, "small");
  const file = JSON.parse(await readFile(keys, "utf8"));
  file.tenants.small.limits = limited;
  writeFileSync(keys, JSON.stringify(file));
  serving = new Serving([
    fresh("app.cairn"),
    ...["--config", config, "--port", "0", "--rioc-port", "0", "--rioc-tenant", "main"],
    ...["--workers", String(WORKERS), "--audit", audit],
  ]);
  url = await serving.url();
  lines = await linesToAll(url, WORKERS, key);
}, 120_000);

afterAll(async () => {
  for (const line of lines ?? []) line?.close();
  serving?.signal("SIGTERM");
  expect(await serving?.ended).toEqual({ status: 0, signal: null });
  expect(serving.lines.filter(({ level }) => level === "error")).toEqual([]);
}, 60_000);

const line = (worker: number): HttpLine => lines[worker] as HttpLine;
const all = [1, 2, 3];
const put = (at: number, name: string, value: string) =>
  line(at).ask(`/record/${name}`, { method: "PUT", body: value, headers: { "content-type": "text/plain" } });

/** A WebSocket that a certain worker has: an HTTP connection to it that is upgraded. */
async function socketAt(worker: number, query: string): Promise<RawSocket> {
  const upgraded = (await linesToAll(url, WORKERS))[worker] as HttpLine;
  return upgradedSocket(upgraded.raw.socket, "localhost", `/ws?${query}`);
}

async function tokenFor(body: object): Promise<string> {
  const answer = await line(1).ask("/token/websocket", { body });
  expect(answer.status).toBe(200);
  return answer.json.token;
}

describe("what one worker has answered is there for all", () => {
  test("values, versions, deletions", async () => {
    for (let round = 0; round < 20; round++) {
      const writer = 1 + (round % WORKERS);
      const stored = await put(writer, "seen", `round ${round}`);
      expect(stored.status).toBe(200);
      for (const reader of all) {
        const { status, text, headers } = await line(reader).ask("/record/seen", { headers: { accept: "text/plain" } });
        expect([status, text, headers["etag"]]).toEqual([200, `round ${round}`, stored.headers["etag"]]);
      }
    }
    expect((await line(2).ask("/record/seen", { method: "DELETE" })).status).toBe(200);
    for (const reader of all) expect((await line(reader).ask("/record/seen")).status).toBe(404);
  });

  test("bytes that are no text, keys and values, large ones, expiries, ranges, counts, deletion of ranges", async () => {
    const keyOf = (byte: number): string => encodeURIComponent(Buffer.from([0x62, byte, 0x80]).toString("base64"));
    for (const worker of all) {
      const stored = await line(worker).ask(`/record?keyEncoding=base64&key=${keyOf(worker)}`, {
        method: "PUT",
        body: Buffer.from([0xc3, 0x28, worker]),
        headers: { "content-type": "application/octet-stream", "x-ttl": "600000" },
      });
      expect(stored.status).toBe(200);
      const found = await line(1 + (worker % WORKERS)).ask(`/record?keyEncoding=base64&key=${keyOf(worker)}`);
      expect(found.json).toMatchObject({ encoding: "base64", keyEncoding: "base64", expiresAt: expect.any(Number) });
    }
    const large = "x".repeat(3_000_000);
    expect((await put(1, "large", large)).status).toBe(200);
    expect((await line(2).ask("/record/large", { headers: { accept: "text/plain" } })).text).toBe(large);
    for (let at = 0; at < 30; at++) await put(1 + (at % WORKERS), `range:${String(at).padStart(2, "0")}`, String(at));
    for (const worker of all) {
      const { json } = await line(worker).ask("/records?prefix=range:&limit=25");
      expect(json).toMatchObject({ count: 25, truncated: true });
      expect(json.records[24]).toEqual({ key: "range:24", value: "24" });
      expect((await line(worker).ask("/records/count?prefix=range:")).json).toEqual({ count: 30 });
    }
    const deleted = await line(3).ask("/records?prefix=range:", { method: "DELETE" });
    expect(deleted.json).toMatchObject({ deleted: 30 });
    expect((await line(1).ask("/records/count?prefix=range:")).json).toEqual({ count: 0 });
  });

  test("snapshots that one gave are read through all, and deleted by any", async () => {
    await put(1, "moment", "then");
    const { json } = await line(1).ask("/snapshots", { method: "POST" });
    await put(2, "moment", "now");
    for (const worker of all) {
      expect((await line(worker).ask(`/record/moment?snapshot=${json.id}`)).json.value).toBe("then");
      const page = await line(worker).ask(`/records?prefix=moment&snapshot=${json.id}`);
      expect(page.json.records).toEqual([{ key: "moment", value: "then" }]);
      expect((await line(worker).ask("/record/moment")).json.value).toBe("now");
    }
    expect((await line(3).ask(`/snapshots/${json.id}`, { method: "DELETE" })).status).toBe(200);
    for (const worker of all) expect((await line(worker).ask(`/record/moment?snapshot=${json.id}`)).status).toBe(410);
  });

  test("requests in one piece on one connection happen in their order, and see each other", async () => {
    const { raw } = line(2);
    const requests: Buffer[] = [];
    for (let at = 0; at < 40; at++) {
      requests.push(
        line(2).request("/record/order", {
          method: "PUT",
          body: String(at),
          headers: { "content-type": "text/plain" },
        }),
      );
      requests.push(line(2).request("/record/order", { headers: { accept: "text/plain" } }));
    }
    raw.write(Buffer.concat(requests));
    for (let at = 0; at < 40; at++) {
      expect((await line(2).next()).status).toBe(200);
      expect((await line(2).next()).text).toBe(String(at));
    }
    // Over a WebSocket nothing waits for an answer.
    const socket = await socketAt(3, `apiKey=${key}`);
    const asked = Array.from({ length: 200 }, (_, at) =>
      at % 2 === 0 ? { op: 2, key: "order", value: `v${at}`, messageId: at } : { op: 1, key: "order", messageId: at },
    );
    socket.send(...asked);
    const replies = await socket.replies(200);
    const read = replies.filter(({ messageId }) => messageId % 2 === 1);
    expect(read.map(({ messageId, value }) => [messageId, value])).toEqual(
      Array.from({ length: 100 }, (_, at) => [2 * at + 1, `v${2 * at}`]),
    );
    socket.destroy();
  });
});

describe("what many do at once over all workers adds up", () => {
  test("increments: each has a sum of its own, and the last one is all of them", async () => {
    const sums = await Promise.all(
      Array.from({ length: 240 }, async (_, at) => {
        const { json } = await line(1 + (at % WORKERS)).ask("/record/atomic", { body: { key: "sum", increment: 1 } });
        return json.result as number;
      }),
    );
    expect(sums.sort((a, b) => a - b)).toEqual(Array.from({ length: 240 }, (_, at) => at + 1));
  });

  test("conditional writes: none is lost", async () => {
    await put(1, "guarded", "0");
    let conflicts = 0;
    const add = async (worker: number): Promise<void> => {
      for (let done = 0; done < 10; ) {
        const { text, headers } = await line(worker).ask("/record/guarded", { headers: { accept: "text/plain" } });
        const answer = await line(worker).ask("/record/guarded", {
          method: "PUT",
          body: String(Number(text) + 1),
          headers: { "content-type": "text/plain", "if-match": headers["etag"] as string },
        });
        if (answer.status === 200) done++;
        else {
          expect(answer.status).toBe(412);
          conflicts++;
        }
      }
    };
    await Promise.all(all.map(add));
    expect((await line(1).ask("/record/guarded")).json.value).toBe("30");
    // Else they did not meet, and nothing was tried.
    expect(conflicts).toBeGreaterThan(0);
    const created = await Promise.all(
      all.map((worker) =>
        line(worker).ask("/record/created", {
          method: "PUT",
          body: "x",
          headers: { "content-type": "text/plain", "if-none-match": "*" },
        }),
      ),
    );
    expect(created.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
    const counted = await Promise.all(
      all.map((worker) =>
        line(worker).ask("/record/atomic", { body: { key: "once", increment: 5 }, headers: { "if-none-match": "*" } }),
      ),
    );
    expect(counted.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
    expect((await line(1).ask("/record/once")).json.value).toBe("5");
  });

  test("partial updates: each is whole", async () => {
    await put(1, "document", "{}");
    await Promise.all(
      Array.from({ length: 90 }, (_, at) =>
        line(1 + (at % WORKERS)).ask("/record", {
          body: { key: "document", value: JSON.stringify({ [`m${at}`]: at }), partialUpdate: true },
        }),
      ),
    );
    const document = JSON.parse((await line(1).ask("/record/document")).json.value);
    expect(Object.keys(document).length).toBe(90);
    const refused = await line(2).ask("/record", {
      body: { key: "document", value: "x".repeat(102_000), partialUpdate: true },
    });
    expect(refused.status).toBe(400);
    expect(refused.json.error).toMatch(/limit/);
  });
});

describe("changes are told, whichever worker made them", () => {
  test("notifications, with what a partial update deleted", async () => {
    const token = await tokenFor({ subscribeKeys: ["told:1", "told:2"] });
    const listeners = await Promise.all(all.map((worker) => socketAt(worker, `token=${token}`)));
    for (const worker of all) await put(worker, "told:1", `by ${worker}`);
    await put(1, "told:2", '{"a":1,"b":2}');
    await line(2).ask("/record", { body: { key: "told:2", value: '{"b":null}', partialUpdate: true } });
    for (const listener of listeners) {
      await expect.poll(() => listener.notices.length, { timeout: 10_000 }).toBe(5);
      expect(listener.notices.map((notice) => notice.value)).toEqual([
        "by 1",
        "by 2",
        "by 3",
        '{"a":1,"b":2}',
        '{"a":1,"b":null}',
      ]);
      listener.destroy();
    }
  });

  test("a subscriber hears of what comes behind its subscription, and of nothing before", async () => {
    const token = await tokenFor({ subscribeKeys: ["edge"] });
    for (let round = 0; round < 10; round++) {
      const worker = 1 + (round % WORKERS);
      const listener = await socketAt(worker, `token=${token}`);
      // Its first request is behind its subscription.
      listener.send({ op: 2, key: "edge", value: `own ${round}`, messageId: 1 });
      await expect.poll(() => listener.notices.length, { timeout: 10_000 }).toBeGreaterThan(0);
      expect(listener.notices[0].value).toBe(`own ${round}`);
      listener.destroy();
    }
  });

  test("events over HTTP", async () => {
    const streams = (await linesToAll(url, WORKERS, key)).slice(1);
    for (const stream of streams) {
      stream.raw.write(stream.request("/watch?prefix=event:"));
      await stream.raw.until((text) => text.includes(": changes follow"));
    }
    for (const worker of all) await put(worker, `event:${worker}`, "x");
    for (const stream of streams) {
      const text = await stream.raw.until((received) => received.includes("event:3"));
      expect(text.match(/event:\d/g)).toEqual(["event:1", "event:2", "event:3"]);
      stream.close();
    }
  });
});

test("clients of cairn-kv/client: calls, transactions, walks, watches and backups of all meet in one store", async () => {
  const clients = await Promise.all(Array.from({ length: 9 }, () => connect(url, { key })));
  const [one, other] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const watch = other.watch({ prefix: "c:" });
  // Behind it, so that it has begun: another client's write might overtake it.
  await other.get("c:1");
  await one.put("c:1", "from one");
  for (const client of clients) expect(await client.get("c:1")).toBe("from one");
  expect((await watch.next()).value).toMatchObject({ key: "c:1", value: "from one" });
  await watch.return();
  await one.put("c:sum", "0");
  await Promise.all(
    clients.map((client) =>
      client.transact(
        async (tx) => {
          await tx.set("c:sum", String(Number(await tx.get("c:sum")) + 1));
        },
        { retries: 100 },
      ),
    ),
  );
  expect(await other.get("c:sum")).toBe("9");
  expect((await line(2).ask("/record/c:sum")).json.value).toBe("9");
  // In the order of its calls, none of which waits for another's answer.
  const seen = await Promise.all(
    Array.from({ length: 100 }, (_, at) => (at % 2 === 0 ? one.set("c:order", `v${at}`) : one.get("c:order"))),
  );
  expect(seen.filter((_, at) => at % 2 === 1)).toEqual(Array.from({ length: 50 }, (_, at) => `v${2 * at}`));
  await Promise.all(Array.from({ length: 300 }, (_, at) => other.set(`c:walk:${at}`, "y".repeat(20_000))));
  let count = 0;
  for await (const [, value] of one.entries({ prefix: "c:walk:" })) count += value.length;
  expect(count).toBe(300 * 20_000);
  let size = 0;
  for await (const piece of one.backup()) size += piece.length;
  expect(size).toBeGreaterThan(10_000);
  await one.clear({ prefix: "c:walk:" });
  for (const client of clients) await client.close();
  await expect(connect(url, { key: `${key.slice(0, -2)}xx`, timeoutMs: 10_000 })).rejects.toMatchObject({
    code: "FORBIDDEN",
  });
}, 60_000);

test("RIOC is served by workers, too", async () => {
  const port = Number(/rioc:\/\/[^:]+:(\d+)/.exec(await serving.line())?.[1]);
  const clients = await Promise.all(Array.from({ length: 6 }, () => RiocClient.open(port)));
  for (const [at, client] of clients.entries()) {
    await client.send(joined(batch(2), operation(2, `rioc:${at}`, `v${at}`), operation(1, `rioc:${at}`)));
    expect((await client.reply()).status).toBe(0);
    expect(Buffer.from((await client.reply()).body).toString()).toBe(`v${at}`);
    client.socket.destroy();
  }
  expect((await line(1).ask("/record/rioc:5")).json.value).toBe("v5");
});

describe("limits and keys are those of one server", () => {
  test("a tenant's requests: over all workers not more than its budget", async () => {
    const small = addKey(keys, "small", "admin");
    await expect
      .poll(
        async () => {
          const answers = await Promise.all(
            all.map((worker) => line(worker).ask("/rights", { headers: { "x-api-key": small } })),
          );
          return answers.every(({ status }) => status !== 401);
        },
        { timeout: 20_000, interval: 300 },
      )
      .toBe(true);
    // The bucket is full again.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const own = (await linesToAll(url, WORKERS, small)).slice(1);
    const startMs = performance.now();
    let passed = 0;
    let refused = 0;
    await Promise.all(
      own.map(async (each) => {
        while (performance.now() - startMs < 1500) {
          const { status, headers } = await each.ask("/record/none");
          if (status === 404) passed++;
          else {
            expect([status, Number(headers["retry-after"]) > 0]).toEqual([429, true]);
            refused++;
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
      }),
    );
    const seconds = (performance.now() - startMs) / 1000;
    expect(refused).toBeGreaterThan(10);
    expect(passed).toBeGreaterThan(30);
    // 20 at once and 40 a second: for three that know nothing of each other it would be three times as much.
    expect(passed).toBeLessThanOrEqual(20 + 40 * seconds + 20);
    for (const each of own) each.close();
  }, 60_000);

  test("a tenant's connections: over all workers", async () => {
    const file = JSON.parse(await readFile(keys, "utf8"));
    expect(file.tenants.small.limits.connections).toBe(6);
    const small = addKey(keys, "small", "admin");
    const counts = async (): Promise<number[]> => {
      const sockets: RawSocket[] = [];
      const refusals: number[] = [];
      for (let at = 0; at < 12; at++) {
        try {
          sockets.push(await rawSocket(`${url}/ws?apiKey=${small}`));
        } catch (error) {
          refusals.push((error as { status: number }).status);
        }
        // What one took the others know a moment later.
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      for (const socket of sockets) socket.destroy();
      return [sockets.length, ...refusals];
    };
    await expect
      .poll(
        () =>
          rawSocket(`${url}/ws?apiKey=${small}`).then(
            (socket) => socket.destroy(),
            (error) => error.status,
          ),
        { timeout: 20_000, interval: 300 },
      )
      .toBe(undefined);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    // Each alone would take six, and so all twelve.
    for (let round = 0; round < 2; round++) {
      const [taken, ...refusals] = await counts();
      expect(taken).toBeGreaterThanOrEqual(6);
      expect(taken).toBeLessThanOrEqual(8);
      expect([...new Set(refusals)]).toEqual([503]);
      // What was given back, the others know a moment later.
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  }, 60_000);

  test("a key that is revoked ends its connections at all workers", async () => {
    const made = addKey(keys, "main", "admin");
    await expect
      .poll(
        async () => {
          const answers = await Promise.all(
            all.map((worker) => line(worker).ask("/rights", { headers: { "x-api-key": made } })),
          );
          return answers.map(({ status }) => status);
        },
        { timeout: 20_000, interval: 300 },
      )
      .toEqual([200, 200, 200]);
    const sockets = await Promise.all(all.map((worker) => socketAt(worker, `apiKey=${made}`)));
    const client = await connect(url, { key: made });
    expect(await client.get("none")).toBe(undefined);
    expect(cairn(["keys", "revoke", "--keys", keys, made.split("_")[1] ?? ""]).status).toBe(0);
    for (const socket of sockets) expect(await socket.ended()).toBe(1008);
    for (const worker of all) {
      expect((await line(worker).ask("/rights", { headers: { "x-api-key": made } })).status).toBe(401);
    }
    await expect(client.get("none")).rejects.toMatchObject({ code: "FORBIDDEN" });
    await client.close().catch(() => undefined);
  }, 60_000);
});

describe("what the server tells of itself is about all workers", () => {
  test("metrics are sums, and processes stay apart", async () => {
    const countOf = (text: string): number =>
      Number(
        /^cairn_requests_total\{protocol="rest",operation="GET \/ping",status="200"\} (\d+)$/m.exec(text)?.[1] ?? 0,
      );
    const before = countOf((await line(1).ask("/metrics")).text);
    for (const worker of all) for (let at = 0; at < worker; at++) await line(worker).ask("/ping");
    for (const worker of all) {
      const { text } = await line(worker).ask("/metrics");
      expect(countOf(text)).toBe(before + 6);
      expect(text).toMatch(/^cairn_workers 3$/m);
      expect(text).toMatch(/^cairn_store_up 1$/m);
      for (const name of ["owner", "1", "2", "3"])
        expect(text).toContain(`process_cpu_seconds_total{worker="${name}"}`);
      const open = Number(/^cairn_connections\{protocol="http"\} (\d+)$/m.exec(text)?.[1]);
      expect(open).toBeGreaterThanOrEqual(WORKERS);
      expect(text.match(/^# TYPE cairn_request_duration_seconds /gm)?.length).toBe(1);
    }
  });

  test("readiness, figures, segments, activity, slow operations, a backup, the console, the document", async () => {
    for (const worker of all) {
      const own = line(worker);
      expect((await own.ask("/readyz")).json).toEqual({ status: "ready" });
      expect((await own.ask("/stats")).json.store.keyCount).toBeGreaterThan(0);
      expect((await own.ask("/stats/segments")).json.cells.length).toBeGreaterThan(0);
      const { seconds } = (await own.ask("/stats/activity")).json;
      expect(seconds.length).toBe(120);
      expect(seconds.reduce((sum: number, { count }: { count: number }) => sum + count, 0)).toBeGreaterThan(50);
      expect((await own.ask("/stats/slow")).json).toMatchObject({ thresholdMs: 100, operations: expect.any(Array) });
      expect((await own.ask("/console/")).text).toContain("<html");
      expect((await own.ask("/openapi.json")).json.openapi).toMatch(/^3\.1/);
      const backup = await fetch(`${url}/backup`, { headers: { "x-api-key": key } });
      expect((await backup.arrayBuffer()).byteLength).toBeGreaterThan(1_000_000);
    }
  });

  test("the audit log of all workers is whole lines", async () => {
    await Promise.all(
      all.flatMap((worker) =>
        Array.from({ length: 30 }, () => line(worker).ask("/token/websocket", { body: { subscribeKeys: ["a"] } })),
      ),
    );
    const entries = async () =>
      (await readFile(audit, "utf8"))
        .split("\n")
        .filter(Boolean)
        .map((text) => JSON.parse(text));
    await expect
      .poll(async () => (await entries()).filter(({ event }) => event === "token.issued").length)
      .toBeGreaterThanOrEqual(90);
  });
});

test("one line with the addresses is all that standard output gets", () => {
  expect(serving.out).toMatch(/^http:\/\/127\.0\.0\.1:\d+ rioc:\/\/127\.0\.0\.1:\d+\n$/);
});
