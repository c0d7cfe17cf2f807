/** Workers that start, die, come back and end: what clients see of it, and what is left. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { builtEntry, RUNTIME } from "../runtime.ts";
import { CERT, KEY } from "./certificate.ts";
import { HttpLine, linesToAll } from "./lines.ts";
import { delay } from "./raw.ts";
import { cairn, folder, fresh, keysFile, Serving } from "./serving.ts";

/** A server with workers, which is ended with the test. */
function start(words: string[]): Serving {
  const serving = new Serving(words);
  onTestFinished(() => serving.signal("SIGKILL"));
  return serving;
}

/** Processes of its workers, by their numbers: those that listen. */
function pidsOf(serving: Serving): Map<number, number> {
  const pids = new Map<number, number>();
  for (const { message, worker, pid } of serving.lines) {
    if (message === "a worker listens") pids.set(worker, pid);
    if (message.startsWith("a worker ended")) pids.delete(worker);
  }
  return pids;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // One that has ended and was not waited for is no process any more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Sockets that owners have for their workers. */
function sockets(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith("cairn-"))
    .map((name) => join(tmpdir(), name, "s"))
    .filter((path) => existsSync(path));
}

/** Waits until none of these processes is left. */
async function gone(pids: Iterable<number>): Promise<void> {
  const all = [...pids];
  await expect.poll(() => all.filter(isAlive), { timeout: 30_000 }).toEqual([]);
}

const put = (line: HttpLine, name: string, value: string) =>
  line.ask(`/record/${name}`, { method: "PUT", body: value, headers: { "content-type": "text/plain" } });

test("a worker that is killed: its clients lose their connections, nothing that was acknowledged is lost, others go on, another one comes", async () => {
  const { keys, key } = keysFile();
  const serving = start([fresh("k.cairn"), "--keys", keys, "--port", "0", "--workers", "2", "--log-level", "debug"]);
  const url = await serving.url();
  const lines = await linesToAll(url, 2, key);
  const [, victim, other] = lines as [undefined, HttpLine, HttpLine];
  const pid = pidsOf(serving).get(1) as number;
  const acknowledged: string[] = [];
  const writing = (async () => {
    for (let at = 0; ; at++) {
      const answer = await put(victim, `k${at}`, "v").catch(() => undefined);
      if (answer?.status !== 200) return;
      acknowledged.push(`k${at}`);
    }
  })();
  const snapshot = await victim.ask("/snapshots", { method: "POST" }).then(({ json }) => json.id);
  await expect.poll(() => acknowledged.length).toBeGreaterThan(5);
  const client = await connect(url, { key });
  const held = await client.snapshot();
  process.kill(pid, "SIGKILL");
  await writing;
  for (const name of acknowledged) expect((await other.ask(`/record/${name}`)).status).toBe(200);
  expect((await put(other, "after", "x")).status).toBe(200);
  // What REST keeps by an id is the owner's.
  expect((await other.ask(`/records/count?snapshot=${snapshot}`)).status).toBe(200);
  await expect
    .poll(() => serving.lines.some(({ message }) => message === "a worker was started again"), { timeout: 30_000 })
    .toBe(true);
  expect(serving.lines.find(({ message }) => message.startsWith("a worker ended"))).toMatchObject({
    level: "error",
    worker: 1,
    signal: "SIGKILL",
  });
  const again = await linesToAll(url, 2, key);
  expect((await (again[1] as HttpLine).ask("/record/after")).json.value).toBe("x");
  expect((await (again[1] as HttpLine).ask("/metrics")).text).toMatch(/^cairn_worker_restarts_total 1$/m);
  // Whichever worker it had: it goes on.
  await client.put("by the client", "y");
  expect((await other.ask("/record/by the client".replaceAll(" ", "%20"))).json.value).toBe("y");
  await held.close();
  await client.close();
  const pids = [...pidsOf(serving).values()];
  serving.signal("SIGTERM");
  expect(await serving.ended).toEqual({ status: 0, signal: null });
  await gone(pids);
}, 90_000);

test("an owner that is killed: its workers end, and the next one has the store", async () => {
  const { keys, key } = keysFile();
  const words = [fresh("o.cairn"), "--keys", keys, "--port", "0", "--workers", "2", "--log-level", "debug"];
  const first = start(words);
  const line = (await linesToAll(await first.url(), 2, key))[2] as HttpLine;
  expect((await put(line, "kept", "v")).status).toBe(200);
  const pids = [...pidsOf(first).values()];
  expect(pids.length).toBe(2);
  expect(pids.filter(isAlive).length).toBe(2);
  const before = sockets();
  expect(before.length).toBeGreaterThan(0);
  first.signal("SIGKILL");
  await gone(pids);
  await expect(line.ask("/record/kept")).rejects.toThrow(/ended/);
  // The socket of the one that is gone.
  expect(before.filter((name) => !existsSync(name)).length).toBeGreaterThan(0);
  const second = start(words);
  const found = await HttpLine.to(await second.url(), key);
  expect((await found.ask("/record/kept")).json.value).toBe("v");
}, 90_000);

test("a signal: what is in flight is answered, the store is closed, no process is left", async () => {
  const { keys, key } = keysFile();
  const words = [fresh("s.cairn"), "--keys", keys, "--port", "0", "--workers", "2", "--log-level", "debug"];
  const serving = start(words);
  const url = await serving.url();
  const acknowledged: string[] = [];
  const lines = (await linesToAll(url, 2, key)).slice(1);
  let isEnding = false;
  const writers = lines.map(async (line, writer) => {
    for (let at = 0; ; at++) {
      try {
        const { status } = await put(line, `w${writer}-${at}`, "v");
        if (status !== 200) return;
        acknowledged.push(`w${writer}-${at}`);
      } catch {
        expect(isEnding).toBe(true);
        return;
      }
    }
  });
  await expect.poll(() => acknowledged.length).toBeGreaterThan(20);
  const upload = await HttpLine.to(url, key);
  upload.raw.write(
    upload
      .request("/record/late", { method: "PUT", body: "late", headers: { "content-type": "text/plain" } })
      .subarray(0, -2),
  );
  await delay(300);
  const pids = [...pidsOf(serving).values()];
  isEnding = true;
  serving.signal("SIGTERM");
  await expect.poll(() => serving.lines.some(({ message }) => message === "closing"), { timeout: 20_000 }).toBe(true);
  await delay(200);
  upload.raw.write("te");
  expect((await upload.next()).status).toBe(200);
  expect(await serving.ended).toEqual({ status: 0, signal: null });
  await Promise.all(writers);
  await gone(pids);
  expect(serving.lines.map(({ message }) => message)).toContain("closed");
  const again = start(words);
  const line = await HttpLine.to(await again.url(), key);
  for (const name of [...acknowledged, "late"])
    expect([name, (await line.ask(`/record/${name}`)).status]).toEqual([name, 200]);
}, 90_000);

test("a worker that cannot start is tried again after longer and longer pauses, and told of; it comes back when it can", async () => {
  const { keys, key } = keysFile();
  const serving = start([fresh("b.cairn"), "--keys", keys, "--port", "0", "--workers", "2", "--log-level", "debug"]);
  const url = await serving.url();
  const line = (await linesToAll(url, 2, key))[2] as HttpLine;
  const good = readFileSync(keys, "utf8");
  writeFileSync(keys, "{ not JSON");
  process.kill(pidsOf(serving).get(1) as number, "SIGKILL");
  const endings = () => serving.lines.filter(({ message }) => message.startsWith("a worker ended"));
  await expect.poll(() => endings().length, { timeout: 60_000 }).toBeGreaterThanOrEqual(3);
  const pauses = endings().map(({ restartInMs }) => restartInMs);
  expect(pauses.slice(0, 3)).toEqual([0, 250, 500]);
  expect(endings()[1].reason).toMatch(/not JSON|JSON/);
  // The other one has the keys that counted last.
  expect((await line.ask("/ping")).status).toBe(200);
  writeFileSync(keys, good);
  await expect
    .poll(() => serving.lines.some(({ message }) => message === "a worker was started again"), { timeout: 60_000 })
    .toBe(true);
  expect((await ((await linesToAll(url, 2, key))[1] as HttpLine).ask("/ping")).status).toBe(200);
}, 120_000);

test("what is wrong is said once, before anything listens, and nothing is left behind", async () => {
  const { keys } = keysFile();
  const store = fresh("never.cairn");
  const refused = (words: string[]) => cairn(["serve", store, "--keys", keys, "--log-level", "silent", ...words]);
  for (const count of ["-1", "1.5", "many", "65"]) {
    expect(refused(["--port", "0", `--workers=${count}`])).toMatchObject({
      status: 2,
      out: "",
      err: expect.stringMatching(/number of processes, 0 to 64/),
    });
  }
  const config = fresh("workers.json");
  writeFileSync(config, JSON.stringify({ workers: "two" }));
  expect(refused(["--config", config])).toMatchObject({ status: 1, err: expect.stringMatching(/workers.*"two"/) });
  const taken = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void taken.close());
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as { port: number };
  const { status, out, err } = refused(["--port", String(port), "--workers", "3"]);
  expect([status, out]).toEqual([1, ""]);
  expect(err.match(/EADDRINUSE/g)?.length).toBe(1);
  // Without TLS, and without a tenant for RIOC: in the words that it has without workers, and no stack beside them.
  for (const [words, reason] of [
    [["--host", "0.0.0.0"], /allowPlain/],
    [["--rioc-port", "0"], /riocTenant/],
  ] as const) {
    const alone = refused(["--port", "0", ...words]);
    expect(alone.err).toMatch(reason);
    expect(refused(["--port", "0", "--workers", "2", ...words])).toEqual(alone);
  }
}, 120_000);

test("TLS is the workers' to speak", async () => {
  const { keys, key } = keysFile();
  writeFileSync(`${folder}/cert.pem`, CERT);
  writeFileSync(`${folder}/key.pem`, KEY);
  const words = ["--tls-cert", `${folder}/cert.pem`, "--tls-key", `${folder}/key.pem`, "--workers", "2"];
  const serving = start([fresh("t.cairn"), "--keys", keys, "--port", "0", ...words]);
  const url = await serving.url();
  expect(url).toMatch(/^https:/);
  const { request } = await import("node:https");
  const ask = (): Promise<number> =>
    new Promise((resolve, reject) => {
      const asked = request(
        `${url}/ping`,
        { headers: { "x-api-key": key }, rejectUnauthorized: false, agent: false },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        },
      );
      asked.on("error", reject);
      asked.end();
    });
  for (let at = 0; at < 6; at++) expect(await ask()).toBe(200);
  serving.signal("SIGINT");
  expect(await serving.ended).toEqual({ status: 0, signal: null });
}, 90_000);

test("the program of docs/server/workers.md has workers, whose log and audit log its functions take", async () => {
  const { keys, key } = keysFile();
  const { open } = await import(builtEntry(RUNTIME));
  const { createServer: serve } = await import("../../build/adapters/server/index.js" as string);
  const store = await open(":memory:");
  const messages: string[] = [];
  const events: string[] = [];
  const more = {
    logLevel: "debug",
    log: ({ message, worker }: { message: string; worker?: number }) =>
      messages.push(`${worker ?? "owner"} ${message}`),
    audit: ({ event }: { event: string }) => events.push(event),
  };
  const page = readFileSync(new URL("../../docs/server/workers.md", import.meta.url), "utf8");
  const shown = /```js\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const program = shown.replace('keys: "keys.json", port: 3000', "keys, ...more, port: 0");
  const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor;
  const run = new AsyncFunction("createServer", "store", "keys", "more", `${program}; return { server, url };`);
  const { server, url } = await run(serve, store, keys, more);
  onTestFinished(async () => {
    await server.close();
    await store.close();
  });
  const lines = await linesToAll(url, 3, key);
  await put(lines[1] as HttpLine, "a", "through a worker");
  const own = await server.fetch(new Request("http://x/record/a", { headers: { "x-api-key": key } }));
  expect(await own.json()).toMatchObject({ value: "through a worker" });
  expect(await store.sub("main").get("a")).toBe("through a worker");
  await (lines[2] as HttpLine).ask("/token/websocket", { body: { subscribeKeys: ["a"] } });
  await expect.poll(() => events).toContain("token.issued");
  await expect.poll(() => messages.filter((message) => /^[123] request$/.test(message)).length).toBeGreaterThan(0);
  for (const line of lines) line?.close();
}, 60_000);
