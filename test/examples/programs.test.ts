/**
 * The programs of examples/, over the packed package, on Node, Bun and Deno: what they print, what they leave in their
 * stores, and what is there after they were killed.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import type { Tuple } from "../../store/tuple.ts";
import { installPacked, peer, peerMissing, ROOT, run, temporaryFolder } from "../packaging/project.ts";

const NAMES = ["sessions", "cache", "job-queue", "leaderboard", "time-series", "prefix-index"];
const folder = realpathSync(temporaryFolder());
const running = new Set<ChildProcess>();

beforeAll(() => {
  installPacked(folder);
  for (const name of NAMES) cpSync(join(ROOT, "build/examples", name), join(folder, name), { recursive: true });
});

afterEach(async () => {
  for (const child of running) await end(child, "SIGKILL");
});

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }
  running.delete(child);
  return child.exitCode;
}

/** Everything in a store of tuples and JSON. */
async function contents(path: string): Promise<[Tuple, unknown][]> {
  const store = await open(path, { keyEncoding: "tuple", valueEncoding: "json", create: false });
  const entries = [...store.entries()];
  expect((await store.verify()).faults).toEqual([]);
  await store.close();
  return entries;
}

describe.for([
  { runtime: "Node", command: process.execPath, flags: [] as string[] },
  { runtime: "Bun", command: peer("bun"), flags: ["run"] },
  { runtime: "Deno", command: peer("deno"), flags: ["run", "--allow-all"] },
])("on $runtime", ({ runtime, command, flags }) => {
  const missing = runtime === "Node" ? undefined : peerMissing(runtime.toLowerCase());
  /** A folder for one test's files. */
  const place = (): string => mkdtempSync(join(folder, "run-"));

  /** The lines that a program prints. */
  async function lines(name: string, args: string[], options: Parameters<typeof run>[3] = {}): Promise<string[]> {
    const ended = await run(folder, command, [...flags, join(name, "main.js"), ...args], options);
    expect(ended).toMatchObject({ err: "", status: 0 });
    return ended.out.split("\n").slice(0, -1);
  }

  /** Starts a program that goes on, and gives it with the first line that it printed. */
  async function start(name: string, args: string[], env: Record<string, string> = {}) {
    const child = spawn(command, [...flags, join(name, "main.js"), ...args], {
      cwd: folder,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    running.add(child);
    let out = "";
    for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
      out += chunk;
      if (out.includes("\n")) break;
    }
    return { child, line: out.split("\n")[0] as string };
  }

  test("sessions outlive a kill, are renewed by use, and end", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const path = join(place(), "sessions.cairn");
    const HOUR_MS = 3_600_000;
    const ask = async (origin: string, call: string, cookie = ""): Promise<[number, string, string]> => {
      const [method = "", target] = call.split(" ");
      const answer = await fetch(`${origin}${target}`, { method, headers: { cookie, connection: "close" } });
      const set = answer.headers.get("set-cookie")?.split(";")[0] ?? "";
      return [answer.status, (await answer.text()).trim(), set];
    };
    const first = await start("sessions", [path], { SESSION_MS: `${HOUR_MS}` });
    const [status, text, ada] = await ask(first.line, "POST /login?user=Ada");
    expect([status, text]).toEqual([200, "welcome Ada"]);
    const [, , adaAgain] = await ask(first.line, "POST /login?user=Ada");
    const [, , grace] = await ask(first.line, "POST /login?user=Grace");
    const [, , barbara] = await ask(first.line, "POST /login?user=Barbara");
    expect(new Set([ada, adaAgain, grace, barbara]).size).toBe(4);
    await end(first.child, "SIGKILL");

    // Sessions live longer now, so these are in the last half of their time, and a use renews them.
    const second = await start("sessions", [path], { SESSION_MS: `${3 * HOUR_MS}` });
    const say = async (call: string, cookie?: string) => (await ask(second.line, call, cookie)).slice(0, 2);
    expect(await say("GET /", ada)).toEqual([200, "hello Ada"]);
    expect(await say("GET /")).toEqual([401, "log in first"]);
    expect(await say("GET /", "session=made-up")).toEqual([401, "log in first"]);
    expect(await say("GET /nowhere", ada)).toEqual([404, "not found"]);
    expect(await say("POST /logout-everywhere", adaAgain)).toEqual([200, "ended 2 sessions"]);
    expect(await say("GET /", ada)).toEqual([401, "log in first"]);
    expect(await say("POST /logout", barbara)).toEqual([200, "goodbye"]);
    expect(await say("GET /", barbara)).toEqual([401, "log in first"]);
    expect(await say("GET /", grace)).toEqual([200, "hello Grace"]);
    expect(await end(second.child, "SIGTERM")).toBe(0);

    const third = await start("sessions", [path], { SESSION_MS: "1" });
    const [, , short] = await ask(third.line, "POST /login?user=Alan");
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await ask(third.line, "GET /", short))[0]).toBe(401);
    expect(await end(third.child, "SIGTERM")).toBe(0);

    const kept = await contents(path);
    expect(kept).toEqual([
      [["session", expect.any(Uint8Array)], { user: "Grace", createdAt: expect.any(Number) }],
      [["user", "Grace", expect.any(Uint8Array)], null],
    ]);
    expect(kept[0]?.[0][1]).toEqual(kept[1]?.[0][2]);
    expect(readFileSync(path).includes(grace.slice("session=".length))).toBe(false);
    const store = await open(path, { keyEncoding: "tuple", valueEncoding: "json", readOnly: true });
    for (const [key] of kept) expect(store.getEntry(key)?.expiresAt).toBeGreaterThan(Date.now() + 2 * HOUR_MS);
    await store.close();
  });

  test("a cache fetches once, is warm after a restart, and keeps no failure", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url as string);
      response.writeHead(request.url === "/broken" ? 500 : 200, { connection: "close" }).end("x".repeat(1000));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const path = join(place(), "pages.cairn");
      const urls = [`${origin}/a`, `${origin}/a`, `${origin}/b`, `${origin}/broken`];
      expect(await lines("cache", [path, ...urls])).toEqual([
        `${origin}/a 1000 characters`,
        `${origin}/a 1000 characters`,
        `${origin}/b 1000 characters`,
        `${origin}/broken failed: ${origin}/broken answered 500`,
        "0 from the cache, 3 not, 2 kept",
      ]);
      expect(asked.sort()).toEqual(["/a", "/b", "/broken"]);
      expect((await lines("cache", [path, ...urls])).at(-1)).toBe("2 from the cache, 1 not, 2 kept");
      expect(asked.length).toBe(4);
      const small = await lines("cache", [path, `${origin}/c`], { env: { MAX_BYTES: "2100" } });
      expect(small.at(-1)).toBe("0 from the cache, 1 not, 2 kept");
      const old = await lines("cache", [path, `${origin}/c`, `${origin}/d`], { env: { FRESH_MS: "1" } });
      expect(old.at(-1)).toBe("1 from the cache, 1 not, 3 kept");
    } finally {
      server.close();
    }
  });

  test("jobs are done though their worker is killed, and given up when they keep failing", async (context) => {
    if (missing !== undefined) context.skip(missing);
    if (process.platform === "win32") context.skip("needs named pipes");
    const files = place();
    const path = join(files, "jobs.cairn");
    const [slow, good, absent] = ["slow", "good", "absent"].map((name) => join(files, name)) as [
      string,
      string,
      string,
    ];
    // Nobody writes to it: who reads it waits.
    execFileSync("mkfifo", [slow]);
    writeFileSync(good, "abc");
    expect(await lines("job-queue", ["add", path, slow, good, absent])).toEqual(["added 1 2 3"]);
    const env = { LEASE_MS: "1000", ATTEMPTS: "2", BACKOFF_MS: "10" };
    const worker = await start("job-queue", ["work", path], env);
    expect(worker.line).toBe("1 taken, attempt 1");
    // The taking becomes durable with the interval.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await end(worker.child, "SIGKILL");
    expect((await contents(path)).map(([key]) => key)).toEqual([
      ["due", expect.any(Number), 2],
      ["due", expect.any(Number), 3],
      ["due", expect.any(Number), 1],
      ["job", 1],
      ["job", 2],
      ["job", 3],
      ["next"],
    ]);
    rmSync(slow);
    writeFileSync(slow, "");
    const said = await lines("job-queue", ["work", path], { env });
    expect(said.filter((line) => !line.includes("taken")).sort()).toEqual([
      "1 done e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "2 done ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "3 failed: again",
      "3 failed: dead",
      `3 is dead: ${absent}`,
    ]);
    expect(said).toContain("1 taken, attempt 2");
    expect(await contents(path)).toEqual([
      [["dead", 3], { payload: absent, error: expect.stringMatching(/absent/) }],
      [["next"], 3],
    ]);
  });

  test("a leaderboard ranks the best scores, with ties, and anybody's neighbours", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const path = join(place(), "scores.cairn");
    const scores = ["ada=310", "grace=270", "barbara=310", "alan=0", "ada=12", "grace=300"];
    const first = await lines("leaderboard", [path, ...scores]);
    expect(first.filter((line) => line.startsWith("a new best of ada"))).toEqual(["a new best of ada: 310"]);
    const places = ["1. ada 310", "1. barbara 310", "3. grace 300", "4. alan 0"];
    expect(first.slice(-4)).toEqual(places);
    expect(await lines("leaderboard", [path, "grace"])).toEqual(places.slice(1));
    expect(await lines("leaderboard", [path, "ada"])).toEqual(places.slice(0, 2));
    const unknown = await run(folder, command, [...flags, "leaderboard/main.js", path, "nobody"]);
    expect(unknown).toEqual({ out: "", err: "nobody has no score yet\n", status: 3 });
    expect(await contents(path)).toEqual([
      [["best", "ada"], 310],
      [["best", "alan"], 0],
      [["best", "barbara"], 310],
      [["best", "grace"], 300],
      [["place", -310, "ada"], null],
      [["place", -310, "barbara"], null],
      [["place", -300, "grace"], null],
      [["place", 0, "alan"], null],
    ]);
  });

  test("a time series sums up steps, takes a point again, and lets old ones go", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const path = join(place(), "series.cairn");
    const now = Date.now();
    const minute = Math.floor(now / 60_000) * 60_000 - 600_000;
    const at = (ms: number): string => new Date(minute + ms).toISOString();
    const points = [
      ["outside", at(0), 4],
      ["outside", at(1000), 8],
      ["inside", at(0), 21],
      ["outside", at(180_000), -1.5],
      ["outside", at(1000), 6],
      ["outside", new Date(now - 86_400_000).toISOString(), 99],
    ];
    const input = points.map((point) => `${point.join(",")}\n`).join("");
    const env = { KEEP_DAYS: "0.5" };
    expect(await lines("time-series", ["record", path], { input, env })).toEqual(["recorded 6 points"]);
    const query = ["query", path, "outside", "2020-01-01", at(240_000), "60"];
    expect((await lines("time-series", query)).map((line) => JSON.parse(line))).toEqual([
      { from: at(0), count: 2, min: 4, max: 6, mean: 5 },
      { from: at(180_000), count: 1, min: -1.5, max: -1.5, mean: -1.5 },
    ]);
    expect(await lines("time-series", ["metrics", path])).toEqual(["inside 21", "outside -1.5"]);
    expect(await contents(path)).toEqual([
      [["point", "inside", minute], 21],
      [["point", "outside", minute], 4],
      [["point", "outside", minute + 1000], 6],
      [["point", "outside", minute + 180_000], -1.5],
    ]);
  });

  test("an index finds documents by beginnings of words, and forgets what was changed", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const files = place();
    const path = join(files, "docs.cairn");
    const documents = join(files, "documents");
    mkdirSync(join(documents, "inner"), { recursive: true });
    writeFileSync(join(documents, "one.md"), "# Première\n\nThe snapshot of a store; a snapshot is cheap.\n");
    writeFileSync(join(documents, "inner/two.md"), "# Second\n\nSnapping a store shut. Snow.\n");
    writeFileSync(join(documents, "three.txt"), "snapshot\n");
    expect(await lines("prefix-index", ["add", path, documents])).toEqual(["indexed 2 files"]);
    const inner = join("inner", "two.md");
    expect(await lines("prefix-index", ["search", path, "snap"])).toEqual(["2 one.md Première", `1 ${inner} Second`]);
    expect(await lines("prefix-index", ["search", path, "STORE snapshot"])).toEqual(["3 one.md Première"]);
    expect(await lines("prefix-index", ["search", path, "premi"])).toEqual(["2 one.md Première"]);
    expect(await lines("prefix-index", ["search", path, "sto snap"])).toEqual([]);
    expect(await lines("prefix-index", ["complete", path, "sn"])).toEqual(["snapping", "snapshot", "snow"]);
    writeFileSync(join(documents, "one.md"), "# Premiere\n\nA store.\n");
    await lines("prefix-index", ["add", path, documents]);
    expect(await lines("prefix-index", ["search", path, "snapshot"])).toEqual([]);
    const kept = await contents(path);
    expect(kept.filter(([key]) => key[0] === "word" && key[2] === "one.md")).toEqual([
      [["word", "a", "one.md"], 1],
      [["word", "premiere", "one.md"], 2],
      [["word", "store", "one.md"], 1],
    ]);
  });
});
