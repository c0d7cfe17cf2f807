/** Versioned snapshots in a folder: what is sent, what comes back, what a push that died leaves. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folderRemote } from "../../hosts/folder-remote.ts";
import type { Remote } from "../../store/backup/remote.ts";
import type { Store } from "../../store/store.ts";
import { builtEntry, commandOf, programFile, RUNTIME } from "../runtime.ts";
import { failureOf, MANUAL } from "../store/backups.ts";
import { open, openTiny, restoreSnapshot, scratchFolder } from "../store/harness.ts";
import { ImageDevice } from "../store/image-device.ts";

const folder = scratchFolder();
let count = 0;

function newRemote(): { remote: Remote; path: string } {
  const path = join(folder, `remote-${count++}`);
  return { remote: folderRemote(path), path };
}

async function large(): Promise<Store> {
  const store = await openTiny(new ImageDevice(), MANUAL);
  for (let i = 0; i < 200; i++) store.set(`key ${i}`, `${i}`.padEnd(20_000, "v"));
  return store;
}

async function stateOf(remote: Remote, id?: string): Promise<Map<string, string>> {
  const device = new ImageDevice();
  await restoreSnapshot(remote, device, id);
  const store = await openTiny(device, MANUAL);
  const state = new Map(store.entries());
  expect((await store.verify()).faults).toEqual([]);
  await store.close();
  return state;
}

function pieceCount(path: string): number {
  return readdirSync(join(path, "pieces"), { recursive: true }).filter((name) => `${name}`.length > 60).length;
}

test("only what is new is read and sent; every version comes back; gc takes what none names", async () => {
  const { remote, path } = newRemote();
  const store = await large();
  const states: Map<string, string>[] = [];
  for (let day = 0; day < 4; day++) {
    store.set("day", `${day}`);
    if (day === 2) {
      for (let i = 0; i < 150; i++) store.delete(`key ${i}`);
      await store.compact({ full: true });
    }
    states.push(new Map(store.entries()));
    const report = await store.pushSnapshot(remote, `day-${day}`);
    expect(report.version).toBe(store.version);
    if (day === 0) expect(report.bytesSent).toBe(report.bytes);
    else if (day !== 2) expect(report.bytesRead).toBeLessThan(6 * 65_536);
    expect(report.bytesSent).toBeLessThanOrEqual(report.bytesRead);
  }
  expect(store.stats().backupPinnedBytes).toBe(0);
  expect((await remote.list()).map(({ id }) => id)).toEqual(["day-0", "day-1", "day-2", "day-3"]);
  expect(await remote.newest()).toBe("day-3");
  for (const [day, state] of states.entries()) expect(await stateOf(remote, `day-${day}`)).toEqual(state);
  expect(await stateOf(remote)).toEqual(states[3]);

  expect(await remote.gc()).toEqual({ pieces: 0, bytes: 0 });
  const before = pieceCount(path);
  expect(await remote.delete("day-0")).toBe(true);
  expect(await remote.delete("day-0")).toBe(false);
  expect(await remote.delete("day-1")).toBe(true);
  const collected = await remote.gc();
  expect(collected.pieces).toBeGreaterThan(20);
  expect(pieceCount(path)).toBe(before - collected.pieces);
  for (const day of [2, 3]) expect(await stateOf(remote, `day-${day}`)).toEqual(states[day]);
  await store.close();
});

test("a restored store, and another one, push to the same remote", async () => {
  const { remote } = newRemote();
  const store = await large();
  await store.pushSnapshot(remote, "first");
  const device = new ImageDevice();
  await restoreSnapshot(remote, device);
  const copy = await openTiny(device, MANUAL);
  copy.set("whose", "copy");
  store.set("whose", "original");
  expect((await copy.pushSnapshot(remote, "copy")).bytesRead).toBeLessThan(6 * 65_536);
  expect((await store.pushSnapshot(remote, "original")).bytesRead).toBeLessThan(6 * 65_536);
  const other = await openTiny(new ImageDevice(), MANUAL);
  other.set("other", "1");
  await other.pushSnapshot(remote, "other");
  expect((await stateOf(remote, "copy")).get("whose")).toBe("copy");
  expect((await stateOf(remote, "original")).get("whose")).toBe("original");
  expect((await stateOf(remote, "other")).size).toBe(1);
  await Promise.all([store.close(), copy.close(), other.close()]);
});

test("an id that is taken, one that is none, a missing snapshot, a damaged piece and manifest", async () => {
  const { remote, path } = newRemote();
  const store = await large();
  await store.pushSnapshot(remote, "a");
  expect((await failureOf(store.pushSnapshot(remote, "a"))).code).toBe("INVALID_ARGUMENT");
  for (const id of ["", "../a", "a/b", ".a", "x".repeat(200)]) {
    expect((await failureOf(store.pushSnapshot(remote, id))).code).toBe("INVALID_ARGUMENT");
  }
  expect((await failureOf(restoreSnapshot(remote, new ImageDevice(), "b"))).code).toBe("NOT_A_STORE");
  expect((await failureOf(restoreSnapshot(newRemote().remote, new ImageDevice()))).code).toBe("NOT_A_STORE");
  const pieces = readdirSync(join(path, "pieces"), { recursive: true }).map((name) => join(path, "pieces", `${name}`));
  const piece = pieces.find((name) => statSync(name).isFile()) as string;
  const bytes = readFileSync(piece);
  const target = join(folder, "kept.cairn");
  const damaged = Buffer.from(bytes);
  damaged[1000] = (damaged[1000] as number) ^ 1;
  writeFileSync(piece, damaged);
  expect((await failureOf(restoreSnapshot(remote, target))).code).toBe("CORRUPT");
  rmSync(piece);
  expect((await failureOf(restoreSnapshot(remote, target))).code).toBe("CORRUPT");
  expect(existsSync(target)).toBe(false);
  writeFileSync(piece, bytes);
  await restoreSnapshot(remote, target);
  const manifest = join(path, "snapshots", "a");
  const written = readFileSync(manifest);
  written[100] = (written[100] as number) ^ 1;
  writeFileSync(manifest, written);
  expect((await failureOf(remote.list())).code).toBe("CORRUPT");
  expect((await failureOf(remote.gc())).code).toBe("CORRUPT");
  await store.close();
});

test("a push that was killed leaves the older versions, and gc takes what it sent", async () => {
  const { remote, path } = newRemote();
  const source = join(folder, "killed.cairn");
  const program = programFile(`
    import { folderRemote } from ${JSON.stringify(builtEntry(RUNTIME))};
    const store = await open(target, { memoryBytes });
    const remote = folderRemote(${JSON.stringify(path)});
    store.set("first", "1");
    await store.pushSnapshot(remote, "first");
    const { crypto } = globalThis;
    for (let i = 0; i < 4000; i++) store.set("key " + i, String.fromCharCode(97 + (i % 26)).repeat(9000) + crypto.randomUUID());
    say("ready");
    await store.pushSnapshot(remote, "second", { concurrency: 1 });
    say("done");
  `);
  const { command, args } = commandOf(RUNTIME) as { command: string; args: readonly string[] };
  const child = spawn(command, [...args, program, source], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += chunk;
  });
  const ended = new Promise((resolve) => child.on("close", resolve));
  const deadline = performance.now() + 30_000;
  const sent = (): number => (existsSync(join(path, "pieces")) ? pieceCount(path) : 0);
  while (sent() < 8 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 2));
  child.kill("SIGKILL");
  await ended;
  expect(said).toContain("ready");
  expect(said).not.toContain("done");
  expect((await remote.list()).map(({ id }) => id)).toEqual(["first"]);
  expect((await stateOf(remote)).get("first")).toBe("1");
  // Whether it still runs, nobody can tell yet.
  expect((await failureOf(remote.gc())).code).toBe("LOCKED");
  const collected = await remote.gc({ staleMs: 0 });
  expect(collected.pieces).toBeGreaterThan(5);
  expect((await stateOf(remote)).get("first")).toBe("1");
  expect(await remote.gc()).toEqual({ pieces: 0, bytes: 0 });
  const store = await open(source);
  await store.pushSnapshot(remote, "second");
  await store.close();
  expect((await stateOf(remote)).size).toBeGreaterThan(1);
});

test("while pieces are collected nothing is pushed", async () => {
  const { remote, path } = newRemote();
  const store = await large();
  await store.pushSnapshot(remote, "a");
  writeFileSync(join(path, "collecting"), "x");
  expect((await failureOf(store.pushSnapshot(remote, "b"))).code).toBe("LOCKED");
  expect(readdirSync(join(path, "pushing"))).toEqual([]);
  rmSync(join(path, "collecting"));
  await store.pushSnapshot(remote, "b");
  const abort = AbortSignal.abort(new Error("enough"));
  expect((await failureOf(store.pushSnapshot(remote, "c", { signal: abort }))).message).toBe("enough");
  expect((await failureOf(store.pushSnapshot(remote, "c", { concurrency: 0 }))).code).toBe("INVALID_ARGUMENT");
  expect((await failureOf(store.pushSnapshot({} as Remote, "c"))).code).toBe("INVALID_ARGUMENT");
  await store.close();
});
