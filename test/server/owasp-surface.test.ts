/**
 * The OWASP API security top ten of 2023, one `describe` an entry, against `createServer(...).listen()` with real sockets: what else is exposed.
 *
 * https://owasp.org/API-Security/editions/2023/en/0x11-t10/
 */
import { readdirSync, readFileSync } from "node:fs";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { ServerConfig } from "../../adapters/server/config.ts";
import { createServer } from "../../adapters/server/index.ts";
import { openOfRuntime } from "../runtime.ts";
import { FILE, KEYS, type Served, served, servedHere } from "./owasp-server.ts";
import { Raw, statusesOf } from "./raw.ts";
import { rawSocket } from "./raw-socket.ts";

const open = await openOfRuntime();

let shared: Served;
beforeAll(async () => {
  shared = await served({ riocPort: 0, riocTenant: "guest", metrics: { key: true } });
});
afterAll(() => shared.close());

describe("API7: server side request forgery", () => {
  test("no request makes the server connect to anything", async () => {
    let connections = 0;
    const trap = createTcpServer((socket) => {
      connections++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => trap.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void trap.close());
    const { port: trapPort } = trap.address() as { port: number };
    const target = `http://127.0.0.1:${trapPort}/x`;
    const { post, ask, status, port, url } = shared;
    const bodies = [
      { key: target, value: target, url: target, callback: target, webhook: target },
      { key: "note:ssrf", value: JSON.stringify({ $ref: target, href: target }), partialUpdate: true },
      { subscribeKeys: [target], subscribePatterns: [target], accessPattern: target },
    ];
    for (const path of ["/record", "/token/websocket", "/snapshots", "/search"]) {
      for (const body of bodies) expect(await status(post(path, body, "operator"))).toBeLessThan(502);
    }
    const headers = {
      origin: target,
      referer: target,
      "x-forwarded-host": `127.0.0.1:${trapPort}`,
      forwarded: `host=127.0.0.1:${trapPort}`,
      "x-callback-url": target,
    };
    for (const path of [
      `/record/${encodeURIComponent(target)}`,
      `/backup?since=0&url=${target}`,
      `/stats?url=${target}`,
      `/watch?url=${target}&start=a&end=a`,
    ]) {
      await status(ask(path, "operator", { headers }));
    }
    for (const line of [
      `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${trapPort}`,
      `CONNECT 127.0.0.1:${trapPort} HTTP/1.1\r\nHost: 127.0.0.1:${trapPort}`,
    ]) {
      const raw = await Raw.to(port);
      raw.write(`${line}\r\nx-api-key: ${KEYS.operator.text}\r\nconnection: close\r\n\r\n`);
      await raw.end();
    }
    const socket = await rawSocket(`${url}/ws`, { "x-api-key": KEYS.operator.text });
    await socket.ask({ op: 2, key: target, value: target });
    socket.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(connections).toBe(0);
  });

  // A worker connects to the socket of the process that started it: no request has a say in either.
  const ofWorkers = [join("workers", "process.ts"), join("workers", "spawn.ts")];

  test("nothing in the server's sources makes requests", () => {
    const folder = new URL("../../adapters/server/", import.meta.url);
    const files = readdirSync(folder, { recursive: true }) as string[];
    const found: string[] = [];
    for (const file of files.filter(isServers)) {
      const source = readFileSync(new URL(file, folder), "utf8");
      if (/from "node:(http|https|http2|dgram|dns|child_process)"|new WebSocket\(|(?<![.\w])fetch\(/.test(code(source)))
        found.push(file);
      if (/import \{[^}]*\bconnect\b[^}]*\} from "node:(net|tls)"|Deno\.connect|Bun\.connect/.test(source))
        found.push(file);
    }
    expect(files.length).toBeGreaterThan(80);
    expect(found.sort()).toEqual(ofWorkers);
  });
});

/** Whether a source is the server's own: the console's page is a browser's. */
function isServers(name: string): boolean {
  return name.endsWith(".ts") && !name.replaceAll("\\", "/").startsWith("console/page/");
}

/** Source without its comments, types of methods and methods named `fetch`. */
function code(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*(readonly )?fetch\(.*$/gm, "");
}

describe("API8: security misconfiguration", () => {
  test("answers to pages of other origins give nothing away unless origins are named", async () => {
    const { ask, url } = shared;
    const origin = "https://evil.example";
    for (const path of ["/record/note:1", "/metrics", "/healthz", "/openapi.json"]) {
      const { headers } = await ask(path, "operator", { headers: { origin } });
      expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
    }
    const preflight = await ask("/record", undefined, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([403, null]);
    await expect(rawSocket(`${url}/ws?apiKey=${KEYS.operator.text}`, { origin })).rejects.toMatchObject({
      status: 403,
    });
    await expect(rawSocket(`${url}/ws?apiKey=${KEYS.operator.text}`, { origin: "null" })).rejects.toMatchObject({
      status: 403,
    });
    const named = await servedHere({ origins: ["https://app.example"] });
    const { headers } = await named.ask("/ping", "reader", { headers: { origin: "https://app.example" } });
    expect(headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(headers.get("access-control-allow-credentials")).toBeNull();
  });

  test("answers say nothing about what serves them, and values are not sniffed", async () => {
    const { ask } = shared;
    await ask("/record/note:page", "writer", {
      method: "PUT",
      body: "<script>1</script>",
      headers: { "content-type": "text/plain" },
    });
    const response = await ask("/record/note:page", "reader", { headers: { accept: "text/html, text/plain" } });
    expect([response.headers.get("content-type"), response.headers.get("x-content-type-options")]).toEqual([
      "text/plain; charset=utf-8",
      "nosniff",
    ]);
    for (const name of ["server", "x-powered-by", "via", "set-cookie"]) expect(response.headers.get(name)).toBeNull();
  });

  test("methods that nobody needs are refused", async () => {
    for (const method of ["TRACE", "TRACK", "CONNECT", "PROPFIND", "PATCH", "BREW"]) {
      const raw = await Raw.to(shared.port);
      raw.write(
        `${method} /record/note:1 HTTP/1.1\r\nHost: x\r\nx-api-key: ${KEYS.operator.text}\r\nx-echo: do-not-echo\r\nconnection: close\r\n\r\n`,
      );
      const text = await raw.end();
      expect([method, statusesOf(text)[0]]).toEqual([
        method,
        expect.toSatisfy((is) => is === 405 || is === 400 || is === 501),
      ]);
      expect(text).not.toContain("do-not-echo");
    }
  });

  test("errors have no traces, paths or words of the inside, in answers or for a store that is gone", async () => {
    const made = await servedHere();
    const texts: string[] = [];
    const keep = async (answer: Promise<Response>): Promise<void> => void texts.push(await (await answer).text());
    await keep(made.post("/record", "{ no json", "writer"));
    await keep(made.post("/record", '{"key":1,"value":{}}', "writer"));
    await keep(made.ask("/record/%E0%A4%A", "reader"));
    await keep(made.ask("/backup?since=x", "operator"));
    await keep(made.ask("/nothing", "reader"));
    await made.store.close();
    for (const path of ["/record/a", "/records?start=a&end=b", "/records/count", "/stats", "/backup", "/readyz"]) {
      const response = await made.ask(path, "operator");
      expect([path, response.status]).toEqual([path, 503]);
      texts.push(await response.text());
    }
    for (const text of texts)
      expect(text).not.toMatch(/\bat .*:\d+|node:|\.ts\b|\.js\b|\/work\/|\/home\/|Error:|stack|undefined|wasm/);
  });

  test("what is insecure has to be asked for: plain beyond this machine, and settings that nobody knows", async () => {
    const store = await open(":memory:", { memoryBytes: 67_108_864 });
    onTestFinished(() => store.close());
    const beyond = createServer(store, { host: "0.0.0.0", keys: FILE, log: () => {} });
    await expect(beyond.listen()).rejects.toThrow(/allowPlain/);
    await beyond.close();
    expect(() => createServer(store, { alowPlain: true } as ServerConfig)).toThrow(/allowPlain/);
    expect(() =>
      createServer(store, {
        keys: { ...FILE, keys: { abcd: { tenant: "none", role: "admin", sha256: "0".repeat(64) } } },
      }),
    ).toThrow(/tenant/);
    const nobody = createServer(store, { log: () => {} });
    const { url } = await nobody.listen();
    expect((await fetch(`${url}/record/a`, { headers: { "x-api-key": KEYS.operator.text } })).status).toBe(401);
    await nobody.close();
  });
});

describe("API10: unsafe consumption of APIs", () => {
  // It does not apply: the server calls nobody's interface. What it would take is tested as API7: its sources connect to nothing.
  test("the server imports no package that calls anybody", () => {
    const folder = new URL("../../adapters/server/", import.meta.url);
    const imported = new Set<string>();
    for (const file of readdirSync(folder, { recursive: true }) as string[]) {
      if (!file.endsWith(".ts")) continue;
      const source = readFileSync(new URL(file, folder), "utf8");
      for (const [, name = ""] of source.matchAll(/(?:from|import\() ?"([^".][^"]*)"/g)) {
        if (!name.startsWith("node:")) imported.add(name);
      }
    }
    // Regular expressions, and the interface of OpenTelemetry, which does nothing by itself.
    expect([...imported].sort()).toEqual(["@opentelemetry/api", "re2js"]);
  });
});
