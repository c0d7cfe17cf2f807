/** The client while its server is killed and comes back: a process, a file, a port. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeAll, expect, test } from "vitest";
import { connect } from "../../adapters/client/index.ts";
import { commandOf, RUNTIME } from "../runtime.ts";
import { scratchPaths } from "../store/harness.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PROGRAM = join(ROOT, `build/server-test/remote-child-${RUNTIME}.mjs`);
const path = scratchPaths();
const children = new Set<ChildProcess>();

beforeAll(async () => {
  await build({
    entryPoints: [join(ROOT, "test/server/remote-child.ts")],
    outfile: PROGRAM,
    bundle: true,
    platform: "node",
    format: "esm",
    alias: { "cairn-kv": join(ROOT, `hosts/${RUNTIME}.ts`) },
    external: ["ws"],
    logLevel: "warning",
  });
});

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  children.clear();
});

/** Starts a server; resolves with its port. */
async function start(file: string, port: number): Promise<{ child: ChildProcess; port: number }> {
  const { command, args } = commandOf(RUNTIME) as { command: string; args: string[] };
  const child = spawn(command, [...args, PROGRAM, file, String(port)], { stdio: ["pipe", "pipe", "inherit"] });
  children.add(child);
  const said = await new Promise<string>((resolve, reject) => {
    child.stdout?.once("data", (data: Buffer) => resolve(data.toString()));
    child.once("exit", (status) => reject(new Error(`the server ended with ${status} before it listened`)));
  });
  return { child, port: Number(said) };
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  children.delete(child);
}

test("loses nothing that was acknowledged when the server is killed and comes back, and its watches miss nothing durable", async () => {
  const file = path();
  let { child, port } = await start(file, 0);
  const db = await connect(`ws://127.0.0.1:${port}`, { key: "secret", pauseMs: 10, pauseMsMax: 200 });
  const outcomes = new Map<string, string>();
  const latest = new Map<string, string>();
  let isOver = false;
  let written = 0;
  const writing = async (lane: number): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      const key = `${lane}:${i}`;
      // No put, which would make all before it durable: what was not is lost with the server, and sent again.
      const call = db.set(key, "v");
      outcomes.set(
        key,
        await call.then(
          () => "done",
          ({ code }) => code as string,
        ),
      );
      written++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const watch = db.watch({ gte: "" });
  const watching = (async () => {
    for await (const { key, version } of watch) latest.set(key, String(version));
  })();
  const lanes = [0, 1, 2, 3].map(writing);
  for (let round = 0; round < 3; round++) {
    const before = written;
    // Some is durable, some is not: the group is made durable every 250 ms.
    await expect.poll(() => written - before).toBeGreaterThan(200);
    await new Promise((resolve) => setTimeout(resolve, 60 * round + 20));
    await kill(child);
    await new Promise((resolve) => setTimeout(resolve, 50));
    ({ child, port } = await start(file, port));
  }
  const before = written;
  await expect.poll(() => written - before).toBeGreaterThan(50);
  isOver = true;
  await Promise.all(lanes);
  await db.flush();
  const codes = new Set(outcomes.values());
  codes.delete("done");
  codes.delete("DEVICE_WRITE");
  expect([...codes]).toEqual([]);
  const done = [...outcomes].filter(([, outcome]) => outcome === "done").map(([key]) => key);
  const found = await db.getMany(done);
  expect(done.filter((_, at) => found[at] === undefined)).toEqual([]);
  // What is there was told of by the watch, under its version.
  await expect.poll(() => done.filter((key) => !latest.has(key)).length).toBe(0);
  const entry = await db.getEntry(done.at(-1) as string);
  expect(latest.get(done.at(-1) as string)).toBe(String(entry?.version));
  await db.close();
  await watching;
});
