/** Failures of single system calls, which strace gives a real process on each runtime: of writes, of syncs, of reads. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RuntimeName } from "../runtime.ts";
import { path as fileOf } from "../simulation/lanes.ts";
import { commandIn } from "./children.ts";
import { privilegeMissing, tool } from "./machine.ts";
import { machineOfTests } from "./machine-of-tests.ts";
import { Puppet } from "./puppet.ts";
import { READS, SYNCS, type SystemCall, Tracer, tracerMissing, WRITES } from "./tracer.ts";

const ROOT = fileOf("");
const RUNTIMES: RuntimeName[] = ["node", "bun", "deno"];

const machine = machineOfTests(privilegeMissing() ?? tracerMissing());
const puppets: Puppet[] = [];

afterEach(() => {
  for (const puppet of puppets.splice(0)) puppet.kill();
});

/** Calls of a kind. */
function of(kind: string, calls: readonly SystemCall[]): SystemCall[] {
  return calls.filter(({ name }) => kind.split(",").includes(name));
}

/** Where those of a kind read or write. */
function spansOf(kind: string, calls: readonly SystemCall[]): { size: number; offset: number }[] {
  return of(kind, calls).map(({ args }) => {
    const match = /, (\d+), (\d+)(?:\)| <)/.exec(args);
    return { size: Number(match?.[1]), offset: Number(match?.[2]) };
  });
}

describe.each(RUNTIMES)("on %s", (runtime) => {
  beforeEach(({ skip }) => {
    if (commandIn(ROOT, runtime) === undefined) skip(`${runtime} is not installed`);
  });

  async function open(path: string): Promise<Puppet> {
    const puppet = await Puppet.start(ROOT, runtime);
    puppets.push(puppet);
    await puppet.do("open", path);
    return puppet;
  }

  /** A store with some durable values, the last ones small, so that the next small one finds space that was given. */
  async function begin(): Promise<{ path: string; puppet: Puppet; there: Map<string, string> }> {
    const path = machine.path("store");
    const puppet = await open(path);
    const there = new Map<string, string>();
    for (let i = 0; i < 12; i++) there.set(`before ${i}`, `1.${i}.${i < 4 ? 20_000 : 300}`);
    for (const [key, tag] of there) await puppet.do("put", key, tag);
    return { path, puppet, there };
  }

  /** Opens the store anew: what it holds must be `there`, and of `maybe` what it likes, but nothing else. */
  async function expectAfter(path: string, there: Map<string, string>, maybe: [string, string][] = []): Promise<void> {
    const puppet = await open(path);
    const found = new Map((await puppet.do("scan")) as [string, string][]);
    for (const [key, tag] of maybe) if (found.get(key) === tag) found.delete(key);
    expect(found).toEqual(there);
    expect(await puppet.do("verify")).toEqual([]);
    await puppet.do("put", "after", "9.1.10");
    await puppet.do("close");
    await puppet.quit();
  }

  async function trace(puppet: Puppet, path: string, injection?: string): Promise<Tracer> {
    return Tracer.attach(puppet.pid, path, injection, machine.path("log"));
  }

  /** Every later call is refused, and makes no call of the system. */
  async function expectPoisoned(puppet: Puppet): Promise<void> {
    for (const call of [["get", "before 1"], ["set", "x", "1.1.1"], ["put", "y", "1.1.1"], ["flush"], ["flushSync"]]) {
      expect((await puppet.call(call[0] as string, ...call.slice(1))).code, call.join(" ")).toBe("POISONED");
    }
    await puppet.call("close");
  }

  test.each(["put", "flushSync"])("a sync that fails in %s poisons, and is never tried again", async (how) => {
    const { path, puppet, there } = await begin();
    if (how === "flushSync") await puppet.do("set", "late", "2.1.70000");
    const tracer = await trace(puppet, path, `${SYNCS}:error=EIO:when=1+`);
    const failed = await (how === "put" ? puppet.call("put", "late", "2.1.70000") : puppet.call("flushSync"));
    expect(failed).toMatchObject({ code: "DEVICE_WRITE", cause: "EIO" });
    await expectPoisoned(puppet);
    const calls = await tracer.stop();
    expect(of(SYNCS, calls), "one sync").toMatchObject([{ injected: true }]);
    const at = calls.findIndex(({ injected }) => injected);
    expect(of(WRITES, calls.slice(at)), "nothing is written behind it").toEqual([]);
    await puppet.quit();
    await expectAfter(path, there, [["late", "2.1.70000"]]);
  });

  test("ENOSPC in a sync is a failed sync", async () => {
    const { path, puppet, there } = await begin();
    const tracer = await trace(puppet, path, `${SYNCS}:error=ENOSPC:when=1+`);
    expect(await puppet.call("put", "late", "2.1.70000")).toMatchObject({ code: "DEVICE_WRITE", cause: "ENOSPC" });
    await expectPoisoned(puppet);
    expect(of(SYNCS, await tracer.stop())).toHaveLength(1);
    await puppet.quit();
    await expectAfter(path, there, [["late", "2.1.70000"]]);
  });

  test.each([
    ["small, synced with its write", "2.1.300"],
    ["large", "2.1.70000"],
  ])("a write that fails poisons, and is never tried again: %s", async (_size, tag) => {
    const { path, puppet, there } = await begin();
    const tracer = await trace(puppet, path, `${WRITES}:error=EIO:when=1+`);
    expect(await puppet.call("put", "late", tag)).toMatchObject({ code: "DEVICE_WRITE", cause: "EIO" });
    await expectPoisoned(puppet);
    const calls = await tracer.stop();
    // Two pieces may be in flight at once.
    expect(of(WRITES, calls).length).toBeLessThanOrEqual(2);
    expect(of(SYNCS, calls)).toEqual([]);
    await puppet.quit();
    await expectAfter(path, there);
  });

  test("a write of 0 bytes fails", async ({ skip }) => {
    if (runtime === "deno") skip("Deno itself writes again and again until all is written");
    const { path, puppet, there } = await begin();
    const tracer = await trace(puppet, path, `${WRITES}:retval=0:when=1+`);
    expect(await puppet.call("put", "late", "2.1.300")).toMatchObject({ code: "DEVICE_WRITE" });
    await expectPoisoned(puppet);
    expect(of(WRITES, await tracer.stop()).length).toBeLessThanOrEqual(2);
    await puppet.quit();
    await expectAfter(path, there);
  });

  test("a short write goes on behind what was taken; what was not written after all is a torn tail, and no value", async () => {
    const { path, puppet, there } = await begin();
    const tracer = await trace(puppet, path, `${WRITES}:retval=1024:when=1`);
    expect((await puppet.call("put", "late", "2.1.300")).code).toBe("done");
    const spans = spansOf(WRITES, await tracer.stop());
    expect(spans[0]?.size).toBe(4096);
    // Another thread may be the first of its own, and be given the same.
    for (let i = 1; i < spans.length; i++) {
      expect(spans[i]?.offset).toBe((spans[i - 1]?.offset as number) + 1024);
      expect(spans[i]?.size).toBe((spans[i - 1]?.size as number) - 1024);
    }
    expect(spans.length).toBeGreaterThan(1);
    puppet.kill();
    await puppet.ended;
    await expectAfter(path, there);
  });

  test("a write that the system takes in part goes on, and meets the end of room with the rest", async () => {
    const { path, puppet, there } = await begin();
    const tracer = await trace(puppet, path);
    await puppet.do("put", "last", "2.1.300");
    there.set("last", "2.1.300");
    const spans = spansOf(WRITES, await tracer.stop());
    const end = Math.max(...spans.map(({ size, offset }) => size + offset));
    // The next block fits in part. What is beyond is EFBIG.
    tool("prlimit", "--pid", String(puppet.pid), `--fsize=${end + 1536}:unlimited`);
    const again = await trace(puppet, path);
    const held = await puppet.call("put", "held", "2.2.300");
    expect(held.code).toBe("NO_SPACE");
    expect(held.cause).toMatch(/EFBIG|os error 27/);
    const short = of(WRITES, await again.stop()).filter(({ result }) => result === 1536);
    expect(short.length).toBeGreaterThan(0);
    expect(await puppet.do("get", "held")).toBe("2.2.300");
    tool("prlimit", "--pid", String(puppet.pid), "--fsize=unlimited:unlimited");
    await puppet.do("flush");
    puppet.kill();
    await puppet.ended;
    await expectAfter(path, there.set("held", "2.2.300"));
  });

  test.each(["ENOSPC", "EDQUOT"])(
    "a disk that is full for some writes, %s, is NO_SPACE at most, and nothing is lost",
    async (error) => {
      const { path, puppet, there } = await begin();
      const tracer = await trace(puppet, path, `${WRITES}:error=${error}:when=1..2`);
      const first = await puppet.call("put", "late", "2.1.300");
      expect(["done", "NO_SPACE"]).toContain(first.code);
      if (runtime === "node") expect(first.code).toBe("NO_SPACE");
      // It stays visible, and is durable once there is room.
      expect(await puppet.do("get", "late")).toBe("2.1.300");
      const flush = async (): Promise<void> => {
        let code = "";
        for (let attempt = 0; attempt < 20 && code !== "done"; attempt++) {
          ({ code } = await puppet.call("flush"));
          expect(["done", "NO_SPACE"]).toContain(code);
        }
        expect(code).toBe("done");
      };
      await flush();
      // Another thread of the runtime may be the next to write, and to be refused.
      expect(["done", "NO_SPACE"]).toContain((await puppet.call("put", "more", "2.2.5000")).code);
      await flush();
      const calls = await tracer.stop();
      expect(of(WRITES, calls).filter(({ injected }) => injected).length).toBeGreaterThan(0);
      puppet.kill();
      await puppet.ended;
      await expectAfter(path, new Map([...there, ["late", "2.1.300"], ["more", "2.2.5000"]]));
    },
  );

  test("killed in one write after another, it loses nothing that was acknowledged", async () => {
    const first = await begin();
    const { path, there } = first;
    let { puppet } = first;
    for (const count of [1, 2, 3, 5, 9]) {
      await trace(puppet, path, `${WRITES}:signal=SIGKILL:when=${count}`);
      let late: [string, string] | undefined;
      try {
        for (let i = 0; i < 200; i++) {
          late = [`killed ${count} ${i}`, `3.${i}.${i % 5 === 4 ? 30_000 : 200}`];
          await puppet.do("put", ...late);
          there.set(...late);
        }
      } catch (error) {
        expect(String(error)).toContain("SIGKILL");
      }
      expect((await puppet.ended).signal).toBe("SIGKILL");
      puppet = await open(path);
      const found = new Map((await puppet.do("scan")) as [string, string][]);
      if (late !== undefined && found.get(late[0]) === late[1]) there.set(...late);
      expect(found).toEqual(there);
    }
  });

  test("a read that fails is tried again twice, then DEVICE_READ, and does not poison", async () => {
    const { path, puppet: writer, there } = await begin();
    await writer.do("close");
    await writer.quit();
    const puppet = await open(path);
    let tracer = await trace(puppet, path, `${READS}:error=EIO:when=1..2`);
    expect(await puppet.do("get", "before 0")).toBe(there.get("before 0"));
    expect(of(READS, await tracer.stop()).filter(({ injected }) => injected)).toHaveLength(2);
    for (const call of ["get", "getAsync"]) {
      tracer = await trace(puppet, path, `${READS}:error=EIO:when=1+`);
      const key = call === "get" ? "before 2" : "before 3";
      expect(await puppet.call(call, key)).toMatchObject({ code: "DEVICE_READ", cause: "EIO" });
      // Blocks that are read together may be read one by one afterwards. None of these is tried more than three times.
      const attempts = new Map<string, number>();
      for (const { size, offset } of spansOf(READS, await tracer.stop())) {
        attempts.set(`${size} at ${offset}`, (attempts.get(`${size} at ${offset}`) ?? 0) + 1);
      }
      expect(Math.max(...attempts.values())).toBe(3);
      expect(await puppet.do(call, key)).toBe(there.get(key));
    }
    await puppet.do("put", "after all", "4.1.10");
    await puppet.do("close");
    await puppet.quit();
    await expectAfter(path, new Map([...there, ["after all", "4.1.10"]]));
  });
});
