/** The console's files as they are served: what headers they have, what is not there, and that they can be left out. */
import { expect, onTestFinished, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile, ServerConfig } from "../../adapters/server/config.ts";
import { createServer } from "../../adapters/server/index.ts";
import { openOfRuntime } from "../runtime.ts";
import { Raw, statusesOf } from "./raw.ts";

const open = await openOfRuntime();
const POLICY = /^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'/;

async function served(config: ServerConfig = {}) {
  const store = await open(":memory:", { memoryBytes: 67_108_864 });
  const server = createServer(store, { log: () => undefined, ...config });
  onTestFinished(async () => {
    await server.close({ graceMs: 0 });
    await store.close();
  });
  const { url, port } = await server.listen();
  return { url, port, server };
}

function guarded({ headers }: Response): void {
  expect(headers.get("content-security-policy")).toMatch(POLICY);
  expect(headers.get("content-security-policy")).not.toMatch(/unsafe|https?:|\*/);
  expect(headers.get("x-frame-options")).toBe("DENY");
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("referrer-policy")).toBe("no-referrer");
}

test("the page is asked for anew each time, its files are kept for good, and nothing in it is inline or foreign", async () => {
  const { url } = await served();
  const page = await fetch(`${url}/console/`);
  expect([page.status, page.headers.get("content-type"), page.headers.get("cache-control")]).toEqual([
    200,
    "text/html; charset=utf-8",
    "no-cache",
  ]);
  guarded(page);
  const html = await page.text();
  expect(html).not.toMatch(/<style|style=|\son\w+=|javascript:|(?:src|href)="(?!\.\/)/);
  for (const [script] of html.matchAll(/<script[\s\S]*?<\/script>/g))
    expect(script).toMatch(/ src="[^"]+"><\/script>$/);
  const names = [...html.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map((match) => match[1] as string);
  expect(names.map((name) => name.replace(/-[A-Z0-9]{8}\./, "."))).toEqual(["icon.svg", "style.css", "main.js"]);
  const types = ["image/svg+xml", "text/css; charset=utf-8", "text/javascript; charset=utf-8"];
  for (const [i, name] of names.entries()) {
    const file = await fetch(`${url}/console/${name}`);
    expect([file.status, file.headers.get("content-type"), file.headers.get("cache-control")]).toEqual([
      200,
      types[i],
      "public, max-age=31536000, immutable",
    ]);
    guarded(file);
    const text = await file.text();
    expect(text.length).toBeGreaterThan(100);
    expect(text).not.toMatch(/sourceMappingURL|https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
  }

  const tag = String(page.headers.get("etag"));
  const known = await fetch(`${url}/console/`, { headers: { "if-none-match": tag } });
  expect([known.status, await known.text(), known.headers.get("etag")]).toEqual([304, "", tag]);
  guarded(known);
  const head = await fetch(`${url}/console/`, { method: "HEAD" });
  expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([
    200,
    String(new TextEncoder().encode(html).length),
    "",
  ]);
});

test("what is not there is 404, whatever the path says, and other methods are refused", async () => {
  const { url, port } = await served();
  const slashless = await fetch(`${url}/console`, { redirect: "manual" });
  expect([slashless.status, slashless.headers.get("location")]).toEqual([308, "console/"]);
  guarded(slashless);
  for (const name of [
    "none.js",
    "main.ts",
    "page/",
    "..",
    "%2e%2e/index.js",
    "index.html/",
    "style.css",
    "__proto__",
  ]) {
    const client = await Raw.to(port);
    client.write(`GET /console/${name} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
    const text = await client.end();
    expect([name, ...statusesOf(text)]).toEqual([name, 404]);
    expect(text).toContain("frame-ancestors 'none'");
  }
  for (const method of ["POST", "PUT", "DELETE"]) {
    const refused = await fetch(`${url}/console/`, { method });
    expect([refused.status, refused.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
    guarded(refused);
    await refused.text();
  }
  const nearby = await fetch(`${url}/consoles`);
  expect([nearby.status, nearby.headers.get("content-security-policy")]).toEqual([404, null]);
  await nearby.text();
});

test("is not served where the configuration leaves it out, and answers in somebody else's server", async () => {
  const without = await served({ console: false });
  for (const path of ["/console", "/console/", "/console/index.html"]) {
    const response = await fetch(without.url + path, { redirect: "manual" });
    expect([path, response.status]).toEqual([path, 404]);
    await response.text();
  }
  const { server } = await served();
  const response = await server.fetch(new Request("https://anywhere/console/"));
  expect(Object.getPrototypeOf(response)).toBe(Response.prototype);
  guarded(response);
  expect(await response.text()).toContain("<title>Cairn console</title>");
});

test("shows the store's figures to operators alone, and everybody what they may do", async () => {
  const made = { root: newApiKey(), two: newApiKey(), reader: newApiKey(), orders: newApiKey() };
  const keyOf = (name: keyof typeof made, tenant: string, role: string) => ({
    [made[name].id]: { tenant, role, sha256: made[name].sha256 },
  });
  const keys: KeysFile = {
    tenants: { one: { operator: true }, two: {} },
    roles: {
      orders: [
        { prefix: "order:", verbs: ["read", "write", "range"] },
        { prefix: "note:", verbs: ["read"] },
      ],
    },
    keys: {
      ...keyOf("root", "one", "admin"),
      ...keyOf("two", "two", "admin"),
      ...keyOf("reader", "one", "reader"),
      ...keyOf("orders", "one", "orders"),
    },
  };
  const { url } = await served({ keys });
  const ask = (path: string, name: keyof typeof made, init: RequestInit = {}) =>
    fetch(url + path, { ...init, headers: { "x-api-key": made[name].text } });
  const rights = async (name: keyof typeof made, query: string) => {
    const response = await ask(`/rights${query}`, name);
    expect(response.status).toBe(200);
    return (await response.json()) as Record<string, unknown>;
  };
  const all = ["read", "write", "delete", "range", "watch"];
  expect(await rights("root", "")).toEqual({ id: made.root.id, tenant: "one", all: [...all, "admin"] });
  expect(await rights("two", "?key=a")).toEqual({ id: made.two.id, tenant: "two", all, key: [...all, "admin"] });
  expect(await rights("reader", "?prefix=a")).toMatchObject({
    all: ["read", "range", "watch"],
    prefix: ["read", "range", "watch"],
  });
  const orders = btoa("order:1");
  expect(await rights("orders", `?key=${orders}&prefix=${btoa("note:")}&keyEncoding=base64`)).toMatchObject({
    all: [],
    key: ["read", "write", "range"],
    prefix: ["read"],
  });
  const malformed = await ask("/rights?key=%21&keyEncoding=base64", "root");
  expect([malformed.status, (await fetch(`${url}/rights`)).status]).toEqual([400, 401]);

  for (const path of ["/stats/segments", "/stats/slow", "/stats/activity"]) {
    for (const [name, status] of [
      ["root", 200],
      ["two", 403],
      ["reader", 403],
      ["orders", 403],
    ] as const) {
      const response = await ask(path, name);
      expect([path, name, response.status]).toEqual([path, name, status]);
      await response.text();
    }
  }
  const { seconds } = (await (await ask("/stats/activity", "root")).json()) as { seconds: { count: number }[] };
  expect(seconds.length).toBeLessThanOrEqual(120);
  const counts = (await (await ask("/stats", "two")).json()) as Record<string, unknown>;
  expect(counts).toEqual({ tenant: { name: "two", keyCount: 0 } });
});
