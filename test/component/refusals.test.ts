/** What the component refuses, what it does about locks, and what it makes of a WASI that is poor or broken. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { errorOf } from "../hosts/scratch.ts";
import { bench, missing, RUNTIMES } from "./component.ts";

const { run, start, command, folder } = bench();
const SEGMENTS_OFFSET = 1024 * 1024;

/** A closed store in a file of the folder, with 8 values that take a read, each durable on its own: its path. */
async function makeStore(name: string): Promise<string> {
  const path = join(folder, name);
  const store = await open(path);
  for (let i = 0; i < 8; i++) {
    store.set(`key ${i}`, `${i}`.repeat(2500));
    store.flushSync();
  }
  await store.close();
  return path;
}

/** A guest that holds a store open: it has written `held`, and goes on when `go` is called, with what it prints then. */
async function holder(runtime: "node" | "bun" | "deno", name: string) {
  const guest = start(runtime, "hold", { name });
  const lines = createInterface({ input: guest.stdout as NodeJS.ReadableStream });
  const [first] = await once(lines, "line");
  expect(first).toBe("holding");
  return {
    pid: guest.pid as number,
    // biome-ignore lint/suspicious/noExplicitAny: each scenario prints what it likes
    async go(): Promise<any> {
      const line = once(lines, "line");
      guest.stdin?.end("go\n");
      return JSON.parse((await line)[0]);
    },
    async kill(): Promise<void> {
      const exit = once(guest, "exit");
      guest.kill("SIGKILL");
      await exit;
    },
  };
}

/** Lets a lock look as if its holder had shown no heartbeat for long. */
function age(lock: string): void {
  const then = new Date(Date.now() - 60_000);
  utimesSync(lock, then, then);
}

describe.skipIf(missing)("the component refuses", () => {
  test.each(RUNTIMES)("on %s: what is no store, and leaves it as it was", async (runtime) => {
    const text = join(folder, `${runtime}-text`);
    writeFileSync(text, "some text, long enough to be something");
    const short = join(folder, `${runtime}-tail`);
    writeFileSync(short, Buffer.concat([Buffer.alloc(8192), Buffer.from("tail")]));
    const damaged = await makeStore(`${runtime}-damaged`);
    const image = readFileSync(damaged);
    const shrunk = join(folder, `${runtime}-shrunk`);
    writeFileSync(shrunk, image.subarray(0, SEGMENTS_OFFSET + 65_536));
    const place = image.indexOf("5".repeat(1000));
    image[place] = (image[place] as number) ^ 1;
    writeFileSync(damaged, image);
    const files = [text, short, damaged, shrunk];
    const before = files.map((file) => readFileSync(file));

    const names = files.map((file) => file.slice(folder.length));
    const refused = await run(
      runtime,
      "refusals",
      [...names, "/missing", "/none/at/all"].map((name) => `/data${name}`),
    );
    expect(refused.map((failure: { code: string }) => failure?.code)).toEqual([
      "not-a-store",
      "not-a-store",
      "corrupt",
      "device-shrunk",
      "not-a-store",
      "invalid-argument",
    ]);
    // The block that holds the flipped bit, as the plain host names it.
    const error = await errorOf(() => open(damaged));
    expect(error.code).toBe("CORRUPT");
    expect(refused[2].deviceOffset).toBe(place - (place % 4096));
    expect(error.message).toContain(`Device offset ${place - (place % 4096)}.`);
    expect(files.map((file) => readFileSync(file))).toEqual(before);
    expect(readdirSync(folder).filter((name) => name.endsWith(".lock"))).toEqual([]);
  });

  test("sizes, stale handles, a second store, and writing to one that is read-only", async () => {
    const result = await run("node", "misuse");
    const codes = (failures: ({ code: string } | null)[]): (string | undefined)[] => failures.map((one) => one?.code);
    expect(codes(result.sizes)).toEqual(["key-size", "key-size", "key-size", "value-size"]);
    expect(result.largest).toBeNull();
    expect(result.second.code).toBe("locked");
    expect(result.second.message).toContain("one at a time");
    expect(codes(result.closed)).toEqual(["closed", "closed", "closed", "closed"]);
    expect(result.kept).toBe(true);
    expect(result.stale.code).toBe("closed");
    expect(codes(result.written)).toEqual(["read-only", "read-only"]);
    expect(result.dropKept).toBe(true);
  });
});

describe.skipIf(missing)("locks", { concurrent: true }, () => {
  test("a store that Node has open is locked for the component, also one that it holds for Node", async () => {
    const path = await makeStore("held-by-node.cairn");
    const store = await open(path);
    const [refused] = await run("node", "refusals", ["/data/held-by-node.cairn"]);
    expect(refused.code).toBe("locked");
    await store.close();
    expect(await run("node", "refusals", ["/data/held-by-node.cairn"])).toEqual([null]);

    const guest = await holder("node", "held-by-guest.cairn");
    expect(JSON.parse(readFileSync(join(folder, "held-by-guest.cairn.lock"), "utf8"))).toMatchObject({ cairnLock: 1 });
    const reader = await open(join(folder, "held-by-guest.cairn"), { readOnly: true });
    await reader.close();
    expect(await guest.go()).toEqual({ write: null, next: null, close: null });
    expect(existsSync(join(folder, "held-by-guest.cairn.lock"))).toBe(false);
  });

  test.each(RUNTIMES)("on %s: an older opener is fenced by Node once its heartbeat has run out", async (runtime) => {
    const name = `fenced-${runtime}.cairn`;
    const guest = await holder(runtime, name);
    age(join(folder, `${name}.lock`));
    const store = await open(join(folder, name));
    expect(store.get("held")).toBe("before");
    await store.put("held", "by Node");
    const { write, next, close } = await guest.go();
    expect(close).toBeNull();
    expect(write.code).toBe("fenced");
    expect(next.code).toBe("poisoned");
    // The lock is Node's now, and the guest left it alone.
    expect(existsSync(join(folder, `${name}.lock`))).toBe(true);
    expect(store.get("held")).toBe("by Node");
    await store.close();
  });

  test("a dead holder's lock is taken over once no heartbeat comes, a torn or strange one is not", async () => {
    const path = await makeStore("dead.cairn");
    const guest = await holder("node", "dead.cairn");
    await guest.kill();
    age(`${path}.lock`);
    const start = performance.now();
    expect(await run("node", "refusals", ["/data/dead.cairn"])).toEqual([null]);
    expect(performance.now() - start).toBeGreaterThan(2_500);
    expect(readdirSync(folder).filter((name) => name.startsWith("dead.cairn."))).toEqual([]);

    for (const content of ["", '{"cairnLock":1,"pid"', "something else"]) {
      writeFileSync(`${path}.lock`, content);
      age(`${path}.lock`);
      const [refused] = await run("node", "refusals", ["/data/dead.cairn"]);
      expect(refused.code).toBe("locked");
      expect(readFileSync(`${path}.lock`, "utf8")).toBe(content);
    }
    rmSync(`${path}.lock`);
  });

  test("a holder that makes calls shows a heartbeat, and keeps its lock against Node", async () => {
    const name = "busy.cairn";
    const guest = start("node", "busy", { name });
    await once(createInterface({ input: guest.stdout as NodeJS.ReadableStream }), "line");
    const error = await errorOf(() => open(join(folder, name)));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain("a WASI component");
    guest.kill("SIGKILL");
  });
});

describe.skipIf(missing)("a WASI", () => {
  test.skipIf(process.platform === "win32")(
    "that has no more room: the write is refused, all others are kept",
    async () => {
      const [program, args] = command("node", "fill", { name: "full.cairn" });
      const limited = ["-c", 'ulimit -f 8192; exec "$@"', "sh", program, ...args];
      const result = JSON.parse(execFileSync("sh", limited, { encoding: "utf8" }).trimEnd());
      expect(result.failure.code).toBe("no-space");
      expect(result.count).toBeGreaterThan(20);
      expect(result).toMatchObject({ readable: result.count, keys: result.count, close: null });
      const store = await open(join(folder, "full.cairn"));
      expect(store.count()).toBe(result.count);
      expect(store.get("key 5")).toBe("5".repeat(9000));
      await store.close();
    },
  );

  test("that transfers less than it was asked for is asked again", async () => {
    const { written, calls, read } = await run("node", "short");
    expect(written.count).toBe(53);
    expect(calls).toBeGreaterThan(700);
    expect(read).toMatchObject({ there: 53, wrong: [], keyCount: 53 });
  });

  test.each(RUNTIMES)(
    "on %s: that throws leaves the store poisoned, and the next opening finds what was durable",
    async (runtime) => {
      const result = await run(runtime, "thrown", { name: `thrown-${runtime}.cairn` });
      expect(result.cause).toContain("the host is broken");
      expect(result.after.map((failure: { code: string }) => failure.code)).toEqual(["poisoned", "poisoned"]);
      expect(result.found).toEqual(["kept", null]);
    },
  );

  test.each(RUNTIMES)("on %s: keys and values that are too large, and what is no number", async (runtime) => {
    const { numbers, keys, values, absent, late, empty } = await run(runtime, "refusedCalls");
    expect(numbers).toEqual(["other", "other", "other", "other"]);
    expect(keys).toEqual([...Array(12).fill("other"), "no-such-store"]);
    expect(values.length).toBe(3);
    expect(values.every((tag: string) => tag !== undefined)).toBe(true);
    expect([absent, late, empty]).toEqual([null, null, ["k"]]);
  });

  test.each(RUNTIMES)("on %s: ranges and calls at their edges", async (runtime) => {
    const { refused, entries, closed, readOnly, missing } = await run(runtime, "edges", {
      name: `edges-${runtime}.cairn`,
    });
    expect(refused).toEqual([...Array(9).fill("key-size"), null]);
    expect(entries).toEqual([1, 300_000]);
    expect(closed).toEqual(Array(5).fill("closed"));
    expect([readOnly, missing]).toEqual(["read-only", [null, "locked"]]);
  });

  test.each([
    ["io", undefined, 23],
    ["insufficient-space", undefined, 37],
    ["io", "openAt", 3],
    ["access", "openAt", 5],
    ["insufficient-space", "openAt", 4],
    ["read-only", "openAt", 2],
    ["io", "stat", 5],
    ["insufficient-space", "write", 5],
  ])("a file system that fails with %s (%s): nothing that was durable is lost", async (error, method, stride) => {
    const name = `failing-${error}-${method}`;
    const found = await run("node", "failing", { name, error, method, stride, first: 0 });
    expect(found.lost).toEqual([]);
    expect(found.lives).toBeGreaterThan(1);
    expect(found.codes.length).toBeGreaterThan(0);
  });
});
