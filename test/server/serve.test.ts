/** `cairn serve` as a process, on each runtime: addresses, requests, signals, what is refused. */
import { writeFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { CERT, KEY } from "./certificate.ts";
import { get, Raw, statusesOf } from "./raw.ts";
import { cairn, folder, fresh, keysFile, Serving as ServingProcess } from "./serving.ts";

class Serving extends ServingProcess {
  constructor(words: string[]) {
    super(words);
    onTestFinished(() => this.signal("SIGKILL"));
  }
}

const headersOf = (key: string) => ({ "x-api-key": key, "content-type": "application/json" });

test("prints one line with the addresses, serves, and keeps what it was given over a signal", async () => {
  const { keys, key } = keysFile();
  const store = fresh("app.cairn");
  const words = [store, "--keys", keys, "--port", "0", "--rioc-port", "0", "--rioc-tenant", "main"];
  const first = new Serving(words);
  const url = await first.url();
  expect(first.out).toMatch(/^http:\/\/127\.0\.0\.1:\d+ rioc:\/\/127\.0\.0\.1:\d+\n$/);
  const stored = await fetch(`${url}/record`, {
    method: "POST",
    headers: headersOf(key),
    body: JSON.stringify({ key: "user:1", value: "Ada" }),
  });
  expect(stored.status).toBe(200);
  expect((await fetch(`${url}/record/user:1`)).status).toBe(401);
  first.signal("SIGTERM");
  expect(await first.ended).toEqual({ status: 0, signal: null });
  expect(first.lines.map(({ message }) => message)).toEqual(expect.arrayContaining(["listening", "closing", "closed"]));
  expect(first.err).not.toContain(key);
  const second = new Serving(words);
  const found = await fetch(`${await second.url()}/record/user:1`, { headers: headersOf(key) });
  expect(await found.json()).toMatchObject({ key: "user:1", value: "Ada" });
  second.signal("SIGINT");
  expect(await second.ended).toEqual({ status: 0, signal: null });
});

test("answers what is in flight when a signal comes, and nothing is lost that was acknowledged", async () => {
  const { keys, key } = keysFile();
  const store = fresh("busy.cairn");
  const serving = new Serving([store, "--keys", keys, "--port", "0"]);
  const url = await serving.url();
  const acknowledged: number[] = [];
  let isEnding = false;
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let count = 0; ; count++) {
      const number = count * 8 + writer;
      try {
        const body = JSON.stringify({ key: `k${number}`, value: String(number) });
        const answer = await fetch(`${url}/record`, { method: "POST", headers: headersOf(key), body });
        if (answer.status !== 200) return;
        acknowledged.push(number);
      } catch {
        // Only a connection that was refused, or closed between requests, ends so.
        expect(isEnding).toBe(true);
        return;
      }
    }
  });
  await expect.poll(() => acknowledged.length).toBeGreaterThan(40);
  isEnding = true;
  serving.signal("SIGTERM");
  expect(await serving.ended).toEqual({ status: 0, signal: null });
  await Promise.all(writers);
  const again = new Serving([store, "--keys", keys, "--port", "0"]);
  const answer = await fetch(`${await again.url()}/records?startKey=k&endKey=l&limit=1000`, {
    headers: headersOf(key),
  });
  const { records } = (await answer.json()) as { records: { key: string }[] };
  const found = new Set(records.map((record) => record.key));
  expect(acknowledged.slice(0, 1000).filter((number) => !found.has(`k${number}`))).toEqual([]);
});

test("ends at once with the second signal", async () => {
  const { keys, key } = keysFile();
  const serving = new Serving([fresh("hang.cairn"), "--keys", keys, "--port", "0", "--grace", "60"]);
  const { port } = new URL(await serving.url());
  // An upload that does not come to its end keeps the server waiting.
  const client = await Raw.to(Number(port));
  client.write(`POST /record HTTP/1.1\r\nHost: x\r\nx-api-key: ${key}\r\nContent-Length: 1000\r\n\r\n{`);
  client.write("");
  await new Promise((resolve) => setTimeout(resolve, 300));
  serving.signal("SIGTERM");
  await expect.poll(() => serving.lines.some(({ message }) => message === "closing")).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(serving.isOver).toBe(false);
  serving.signal("SIGTERM");
  expect((await serving.ended).status).toBe(1);
  client.destroy();
});

test("takes its configuration from a file, and options over it", async () => {
  const { keys, key } = keysFile();
  const config = fresh("config.json");
  writeFileSync(`${folder}/cert.pem`, CERT);
  writeFileSync(`${folder}/key.pem`, KEY);
  const limits = { tenant: { requestsPerSecond: 1, burst: 2 } };
  writeFileSync(config, JSON.stringify({ keys, port: 1, host: "0.0.0.0", limits, logLevel: "error" }));
  const serving = new Serving([fresh("c.cairn"), "--config", config, "--port", "0", "--host", "127.0.0.1"]);
  const url = await serving.url();
  const statuses: number[] = [];
  for (let count = 0; count < 4; count++) {
    statuses.push((await fetch(`${url}/record/x`, { headers: headersOf(key) })).status);
  }
  expect(statuses).toEqual([404, 404, 429, 429]);
  expect(serving.err).toBe("");
  const secure = new Serving([
    fresh("s.cairn"),
    "--keys",
    keys,
    "--port",
    "0",
    "--tls-cert",
    `${folder}/cert.pem`,
    "--tls-key",
    `${folder}/key.pem`,
  ]);
  expect(await secure.url()).toMatch(/^https:/);
});

test("says what is missing before it opens anything", async () => {
  const { keys } = keysFile();
  const store = fresh("never.cairn");
  const refused = (words: string[]) => cairn(["serve", store, ...words]);
  expect(refused([])).toMatchObject({ status: 2, out: "", err: expect.stringMatching(/cairn keys add/) });
  expect(refused(["--keys", `${folder}/none.json`])).toMatchObject({
    status: 1,
    err: expect.stringMatching(/does not exist.*keys add/),
  });
  expect(refused(["--keys", keys, "--port", "70000"])).toMatchObject({ status: 2 });
  expect(refused(["--keys", keys, "--tls-cert", "x"])).toMatchObject({
    status: 2,
    err: expect.stringMatching(/--tls-key/),
  });
  expect(refused(["--keys", keys, "--memory", "much"])).toMatchObject({ status: 2 });
  expect(refused(["--keys", keys, "--port", "0", "--host", "0.0.0.0"])).toMatchObject({
    status: 1,
    err: expect.stringMatching(/allowPlain|--allow-plain/),
  });
});

test("does not end while a client is slow, and serves others", async () => {
  const { keys } = keysFile();
  const serving = new Serving([fresh("slow.cairn"), "--keys", keys, "--port", "0"]);
  const { port } = new URL(await serving.url());
  const slow = await Raw.to(Number(port));
  slow.write("GET /healthz HTTP/1.1\r\n");
  const other = await Raw.to(Number(port));
  other.write(get("/healthz", "connection: close\r\n"));
  expect(statusesOf(await other.end())).toEqual([200]);
  slow.write("Host: x\r\n\r\n");
  await slow.until((text) => text.includes("ok"));
  slow.destroy();
});
