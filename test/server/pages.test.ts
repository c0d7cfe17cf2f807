/** What the server's pages show in JavaScript, run as it stands there: but for ports, the key and where the store lies. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HPKVClientFactory, WebsocketTokenManager } from "@hpkv/websocket-client";
import { Hono } from "hono";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { createServer, type ServerConfig } from "../../adapters/server/index.ts";
import type { Store } from "../../store/store.ts";
import { openOfRuntime, RUNTIME } from "../runtime.ts";
import { MemoryDevice, open as openMemory } from "../store/harness.ts";

type Run = (...given: unknown[]) => Promise<unknown>;
const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as new (...parts: string[]) => Run;

const open = await openOfRuntime();
const key = newApiKey();
const keys = {
  tenants: { main: {} },
  keys: { [key.id]: { tenant: "main", role: "admin", sha256: key.sha256 } },
} as unknown as ServerConfig["keys"];
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cairn-pages-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The blocks of JavaScript of a page, without what they import. */
function blocksOf(page: string): string[] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), "utf8");
  return [...text.matchAll(/```js\n([\s\S]*?)```/g)].map(([, block]) =>
    (block as string).replaceAll(/^import .*$/gm, ""),
  );
}

async function served(): Promise<{ store: Store<unknown, unknown>; server: ReturnType<typeof createServer> }> {
  const store = (await openMemory(new MemoryDevice())) as Store<unknown, unknown>;
  return { store, server: createServer(store, { keys, port: 0, logLevel: "silent" }) };
}

test("the first program of docs/server.md serves a store", async () => {
  const [program] = blocksOf("server.md") as [string];
  const body = program
    .replace("// …", "const answer = await use(url);")
    .replace('"keys.json", port: 3000', "KEYS, port: 0");
  const use = (url: string): Promise<number> =>
    fetch(`${url}/record`, {
      method: "POST",
      headers: { "x-api-key": key.text, "content-type": "application/json" },
      body: JSON.stringify({ key: "user:1", value: "Ada" }),
    }).then(({ status }) => status);
  const run = new AsyncFunction(
    "open",
    "createServer",
    "KEYS",
    "use",
    `${body.replace("app.cairn", join(folder, "app.cairn"))}; return answer;`,
  );
  expect(await run(open, createServer, keys, use)).toBe(200);
  const store = await open(join(folder, "app.cairn"));
  expect(store.sub("main").get("user:1")).toBe("Ada");
  await store.close();
});

test("each line of the second one mounts the server where it can", async () => {
  const lines = (blocksOf("server.md")[1] as string).split("\n").filter((line) => line !== "");
  expect(lines.length).toBe(3);
  const { store, server } = await served();
  const headers = { "x-api-key": key.text };
  try {
    for (const line of lines) {
      const expression = line.replace("port: 3000", "port: 0").replace(/;.*$/, "");
      if (line.startsWith("app.")) {
        const app = new Hono();
        await new AsyncFunction("app", "server", expression)(app, server);
        const answer = await app.request("/kv/record/absent", { headers });
        expect(await answer.json()).toMatchObject({ error: "Record not found" });
        continue;
      }
      if (!line.startsWith(RUNTIME === "deno" ? "Deno" : RUNTIME === "bun" ? "Bun" : "nothing")) continue;
      interface Mounted {
        addr?: { port: number };
        port?: number;
        shutdown?(): Promise<void>;
        stop?(): Promise<void>;
      }
      const mounted = (await new AsyncFunction("server", `return ${expression}`)(server)) as Mounted;
      const answer = await fetch(`http://127.0.0.1:${mounted.addr?.port ?? mounted.port}/record/absent`, { headers });
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ error: "Record not found" });
      await (mounted.shutdown?.() ?? mounted.stop?.());
    }
  } finally {
    await server.close();
    await store.close();
  }
});

test("the program of docs/server/websocket.md is told of a change", async () => {
  const [program] = blocksOf("server/websocket.md") as [string];
  const { store, server } = await served();
  const { url } = await server.listen();
  try {
    const told: unknown[][] = [];
    const body = `${program.replaceAll("http://127.0.0.1:8080", url).replace("console.log", "tell")}
      await api.set("user:2", "Grace");
      return { api, watching };`;
    const run = new AsyncFunction("HPKVClientFactory", "WebsocketTokenManager", "apiKey", "tell", body);
    const tell = (...given: unknown[]): unknown => told.push(given);
    const { api, watching } = (await run(HPKVClientFactory, WebsocketTokenManager, key.text, tell)) as {
      api: { destroy(): void };
      watching: { destroy(): void };
    };
    await expect.poll(() => told).toEqual([["user:2", "Grace"]]);
    api.destroy();
    watching.destroy();
  } finally {
    await server.close();
    await store.close();
  }
});
