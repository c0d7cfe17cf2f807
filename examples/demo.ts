/**
 * `npm start`: Cairn's main job on real documents.
 *
 * It loads every package.json under node_modules into ./demo.cairn, compares all of them with their files, and ranges over a
 * prefix. Then a child process makes durable writes and reports each one that was acknowledged, until it is killed with
 * SIGKILL in their midst; the store is opened again, and every acknowledged write must be there. Exits with 1 if one is not.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CairnError, open, type Store } from "../hosts/node.ts";

const STORE_PATH = "demo.cairn";
const DOCUMENT_COUNT_WANTED = 300;
const RANGE_PREFIX = "package/@types/";

/** What the child writes begins with this. */
const CRASH_PREFIX = "crash/";
/** The argument that makes this program the child. */
const WRITE_UNTIL_KILLED = "write-until-killed";
const WRITER_COUNT = 8;
/** The child is killed at some moment between these, counted from its first acknowledged write. */
const KILL_AFTER_MS_MIN = 300;
const KILL_AFTER_MS_MAX = 700;

/** This file runs as build/examples/demo.js. */
const PACKAGE_FOLDER = fileURLToPath(new URL("../../", import.meta.url));

async function main(): Promise<void> {
  const store = await openDemo();
  const files = await loadPackageFiles(store);
  readBack(store, files);
  rangeOver(store);
  await store.close();

  heading("Killing a process in the midst of durable writes");
  const acknowledged = await writeUntilKilled();
  const lostCount = await lookFor(acknowledged, files);

  heading("Try next");
  const cairn = `node ${relative(process.cwd(), fileURLToPath(new URL("../adapters/cli/main.js", import.meta.url)))}`;
  console.log(`  ${cairn} stats ${STORE_PATH}
  ${cairn} get ${STORE_PATH} package/vitest
  ${cairn} scan ${STORE_PATH} --prefix ${RANGE_PREFIX} --keys
  ${cairn} scan ${STORE_PATH} --prefix ${CRASH_PREFIX} --reverse --limit 3
  ${cairn} shell ${STORE_PATH}`);
  if (lostCount > 0) process.exitCode = 1;
}

/** Opens the store. One of an earlier run is opened too, to show what it kept, and then replaced. */
async function openDemo(): Promise<Store> {
  heading(`Opening ./${STORE_PATH}`);
  if (existsSync(STORE_PATH)) {
    const start = performance.now();
    const earlier = await open(STORE_PATH);
    const ms = performance.now() - start;
    console.log(`  a store of an earlier run with ${format(earlier.count())} keys, opened in ${ms.toFixed(0)} ms`);
    await earlier.close();
    rmSync(STORE_PATH);
    console.log("  replaced by a new one");
  }
  const start = performance.now();
  const store = await open(STORE_PATH);
  console.log(`  a new store, ready in ${(performance.now() - start).toFixed(0)} ms`);
  return store;
}

/** A document: its key, and the text of its file. */
interface PackageFile {
  key: string;
  text: string;
}

async function loadPackageFiles(store: Store): Promise<PackageFile[]> {
  heading("Loading every package.json under node_modules");
  const root = join(PACKAGE_FOLDER, "node_modules");
  const files = pathsUnder(root).map((path) => {
    const folder = relative(root, join(path, "..")).split(sep).join("/");
    return { key: `package/${folder}`, text: readFileSync(path, "utf8") };
  });
  const byteCount = files.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (files.length < DOCUMENT_COUNT_WANTED) {
    console.log(`  only ${files.length} were found, not the ${DOCUMENT_COUNT_WANTED} that this demo wants`);
  }

  const start = performance.now();
  for (const { key, text } of files) store.set(key, text);
  const setMs = performance.now() - start;
  await store.flush();
  const durableMs = performance.now() - start;
  console.log(`  ${format(files.length)} documents, ${format(byteCount)} bytes
  set in ${setMs.toFixed(1)} ms (${rate(files.length, setMs)}), durable after ${durableMs.toFixed(1)} ms`);
  return files;
}

/** The paths of every package.json under `folder`. Symbolic links are not followed. */
function pathsUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pathsUnder(path);
    return entry.isFile() && entry.name === "package.json" ? [path] : [];
  });
}

function readBack(store: Store, files: PackageFile[]): void {
  heading("Reading all of them back");
  const start = performance.now();
  const texts = files.map(({ key }) => store.get(key));
  const ms = performance.now() - start;
  const differing = files.filter(({ text }, index) => texts[index] !== text);
  if (differing.length > 0) {
    throw new Error(`${differing.length} documents differ from their files, ${differing[0]?.key} first`);
  }
  console.log(
    `  ${format(texts.length)} equal to their files, read in ${ms.toFixed(1)} ms (${rate(texts.length, ms)})`,
  );
}

function rangeOver(store: Store): void {
  const prefix = RANGE_PREFIX;
  heading(`Ranging over ${prefix}`);
  for (const [key, text] of store.entries({ prefix, limit: 5 })) {
    const { version, description } = JSON.parse(text) as { version?: string; description?: string };
    console.log(`  ${key.padEnd(28)} ${(version ?? "").padEnd(10)} ${description ?? ""}`);
  }
  console.log(`  ${format(store.count({ prefix }))} keys in the range`);

  const start = performance.now();
  let entryCount = 0;
  for (const _ of store.entries()) entryCount += 1;
  const ms = performance.now() - start;
  console.log(`  ${format(entryCount)} entries in a scan of it all, ${ms.toFixed(1)} ms (${rate(entryCount, ms)})`);
}

/** The value that the child writes under `key`: a function of the key, so that the parent can tell. */
function crashValue(key: string): string {
  return JSON.stringify({ key, text: key.repeat(4) });
}

/** Starts the child, kills it in the midst of its writes, and returns the keys that it had reported as acknowledged. */
async function writeUntilKilled(): Promise<string[]> {
  const program = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [program, WRITE_UNTIL_KILLED], { stdio: ["ignore", "pipe", "inherit"] });
  const acknowledged: string[] = [];
  let startMs: number | undefined;
  let killMs = 0;
  let timer: NodeJS.Timeout | undefined;
  const kill = (): void => {
    killMs = performance.now();
    child.kill("SIGKILL");
  };

  // A last line that was cut short has no end mark, and so is no report.
  const lines = createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY });
  lines.on("line", (line) => {
    if (!line.endsWith(" acknowledged")) return;
    startMs ??= performance.now();
    timer ??= setTimeout(kill, KILL_AFTER_MS_MIN + Math.random() * (KILL_AFTER_MS_MAX - KILL_AFTER_MS_MIN));
    acknowledged.push(line.slice(0, -" acknowledged".length));
  });
  const [, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  if (signal !== "SIGKILL") throw new Error("the child ended before it was killed");

  const ms = killMs - (startMs ?? killMs);
  console.log(`  ${WRITER_COUNT} writers, each awaiting put after put; killed with SIGKILL after ${ms.toFixed(0)} ms
  ${format(acknowledged.length)} writes acknowledged as durable (${rate(acknowledged.length, ms)})`);
  return acknowledged;
}

/** What the child does. It never returns. */
async function writeForever(): Promise<void> {
  const store = await open(STORE_PATH);
  let nextNumber = 0;
  const writer = async (): Promise<void> => {
    for (;;) {
      const key = `${CRASH_PREFIX}${String(nextNumber++).padStart(8, "0")}`;
      await store.put(key, crashValue(key));
      process.stdout.write(`${key} acknowledged\n`);
    }
  };
  await Promise.all(Array.from({ length: WRITER_COUNT }, writer));
}

/** Opens the store that the child left, and returns how many of the acknowledged writes are not there. */
async function lookFor(acknowledged: string[], files: PackageFile[]): Promise<number> {
  const start = performance.now();
  const store = await open(STORE_PATH);
  const ms = performance.now() - start;
  const foundCount = acknowledged.filter((key) => store.get(key) === crashValue(key)).length;
  const lostCount = acknowledged.length - foundCount;
  const writtenCount = store.count({ prefix: CRASH_PREFIX });
  const documentCount = files.filter(({ key, text }) => store.get(key) === text).length;
  await store.close();
  if (documentCount < files.length) throw new Error(`only ${documentCount} documents are there after the kill`);

  console.log(`  opened again in ${ms.toFixed(0)} ms, the lock of the killed process taken over
  acknowledged ${format(acknowledged.length)}, found ${format(foundCount)}, lost ${format(lostCount)}
  ${format(writtenCount - foundCount)} more were written and not yet acknowledged; all ${format(documentCount)} documents are there`);
  return lostCount;
}

function heading(text: string): void {
  console.log(`\n${text}`);
}

function format(count: number): string {
  return count.toLocaleString("en-US");
}

function rate(count: number, ms: number): string {
  return `${format(Math.round((count / Math.max(ms, 0.001)) * 1000))} a second`;
}

try {
  if (process.argv[2] === WRITE_UNTIL_KILLED) await writeForever();
  else await main();
} catch (error) {
  console.error(error instanceof CairnError ? `${error.message} (${error.code})` : error);
  process.exitCode = 1;
}
