/**
 * The example for runtimes that compile nothing at run time, in the real one: the packed package, bundled and served by
 * workerd with the commands of examples/workerd/README.md.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, installPacked, peer, peerMissing, ROOT, run, temporaryFolder } from "./project.ts";

const missing = peerMissing("workerd");
const folder = temporaryFolder();
const esbuild = join(ROOT, "node_modules/.bin/esbuild");
const readme = readFileSync(join(ROOT, "examples/workerd/README.md"), "utf8");
let server: ChildProcess | undefined;
let origin = "";

/** The arguments of the README's only line that runs `tool`. */
function argumentsOf(tool: string): string[] {
  const line = readme.split("\n").find((text) => text.startsWith(`npx ${tool} `));
  if (line === undefined) throw new Error(`the README of the example runs no ${tool}`);
  return line.split(" ").slice(2);
}

beforeAll(async () => {
  if (missing !== undefined) return;
  installPacked(folder);
  cpSync(join(ROOT, "examples/workerd"), folder, { recursive: true });
  const bundled = await run(folder, esbuild, argumentsOf("esbuild"));
  expect(bundled).toMatchObject({ status: 0 });
  const port = await freePort();
  const config = join(folder, "config.capnp");
  writeFileSync(config, readFileSync(config, "utf8").replace(":8080", `:${port}`));
  origin = `http://127.0.0.1:${port}`;
  server = spawn(peer("workerd"), argumentsOf("workerd"), { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
  for (let attempt = 0; ; attempt += 1) {
    try {
      await fetch(origin);
      return;
    } catch (error) {
      if (attempt === 100 || server.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});

afterAll(async () => {
  if (server === undefined || server.exitCode !== null) return;
  server.kill("SIGKILL");
  await once(server, "exit");
});

test("a Worker opens a store with the compiled module that it imports", async (context) => {
  if (missing !== undefined) context.skip(missing);
  const put = await fetch(`${origin}/user:1`, { method: "PUT", body: "Ada ∆" });
  expect(put.status).toBe(204);
  const got = await fetch(`${origin}/user:1`);
  expect([got.status, await got.text()]).toEqual([200, "Ada ∆"]);
  expect((await fetch(`${origin}/user:1`, { method: "DELETE" })).status).toBe(204);
  expect((await fetch(`${origin}/user:1`)).status).toBe(404);
});

test("requests of a Worker share the store, also when many come at once and after the flush interval", async (context) => {
  if (missing !== undefined) context.skip(missing);
  const names = Array.from({ length: 100 }, (_, index) => `shared:${index}`);
  for (const round of ["first", "second"]) {
    const puts = await Promise.all(
      names.map((name) => fetch(`${origin}/${name}`, { method: "PUT", body: `${round} ${name}` })),
    );
    expect(puts.every(({ status }) => status === 204)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 150));
    const texts = await Promise.all(names.map(async (name) => (await fetch(`${origin}/${name}`)).text()));
    expect(texts).toEqual(names.map((name) => `${round} ${name}`));
  }
});

test("a key that is too long for the store is refused in a Worker too", async (context) => {
  if (missing !== undefined) context.skip(missing);
  const answer = await fetch(`${origin}/${"k".repeat(2049)}`, { method: "PUT", body: "" });
  expect([answer.status, (await answer.text()).split(":")[0]]).toEqual([400, "KEY_SIZE"]);
});
