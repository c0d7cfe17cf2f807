/** Block devices that go wrong beneath an open store: cut short, enlarged, unable to write what they took. */
import * as fs from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RuntimeName } from "../runtime.ts";
import { path as fileOf } from "../simulation/lanes.ts";
import { commandIn } from "./children.ts";
import { fillUp, MIB, privilegeMissing, refusalOf, tool } from "./machine.ts";
import { machineOfTests } from "./machine-of-tests.ts";
import { Puppet } from "./puppet.ts";

const ROOT = fileOf("");
const RUNTIMES: RuntimeName[] = ["node", "bun", "deno"];

const machine = machineOfTests(privilegeMissing());
const puppets: Puppet[] = [];

afterEach(async () => {
  for (const puppet of puppets.splice(0)) {
    puppet.kill();
    await puppet.ended;
  }
});

describe.each(RUNTIMES)("on %s a block device", (runtime) => {
  beforeEach(({ skip }) => {
    if (commandIn(ROOT, runtime) === undefined) skip(`${runtime} is not installed`);
  });

  async function start(): Promise<Puppet> {
    const puppet = await Puppet.start(ROOT, runtime);
    puppets.push(puppet);
    return puppet;
  }

  async function end(puppet: Puppet): Promise<void> {
    puppet.kill();
    await puppet.ended;
  }

  test("that is cut short beneath a store poisons it with DEVICE_SHRUNK; with its size, all is there again", async ({
    skip,
  }) => {
    let made = { loop: "", image: "" };
    const missing = refusalOf(() => {
      made = machine.loop(32 * MIB);
    });
    if (missing !== undefined) skip(missing);
    const { loop, image } = made;
    const puppet = await start();
    await puppet.do("open", loop);
    const there = new Map<string, string>();
    for (let i = 0; i < 60; i++) {
      await puppet.do("put", `key ${i}`, `1.${i}.200000`);
      there.set(`key ${i}`, `1.${i}.200000`);
    }
    const whole = fs.readFileSync(image);
    fs.truncateSync(image, 6 * MIB);
    tool("losetup", "-c", loop);
    const failed = await puppet.call("put", "late", "2.1.200000");
    expect(failed).toMatchObject({ code: "DEVICE_WRITE", cause: "DEVICE_SHRUNK" });
    for (const call of [["get", "key 1"], ["put", "x", "1.1.1"], ["flushSync"]]) {
      expect((await puppet.call(call[0] as string, ...call.slice(1))).code).toBe("POISONED");
    }
    await end(puppet);
    const next = await start();
    expect((await next.call("open", loop)).code).toBe("DEVICE_SHRUNK");
    fs.writeFileSync(image, whole);
    tool("losetup", "-c", loop);
    tool("blockdev", "--flushbufs", loop);
    await next.do("open", loop);
    expect(new Map((await next.do("scan")) as [string, string][])).toEqual(there);
    await next.do("close");
  });

  test("that is cut short is DEVICE_SHRUNK for a read behind its end, too", async ({ skip }) => {
    let made = { loop: "", image: "" };
    const missing = refusalOf(() => {
      made = machine.loop(32 * MIB);
    });
    if (missing !== undefined) skip(missing);
    const puppet = await start();
    await puppet.do("open", made.loop);
    for (let i = 0; i < 60; i++) await puppet.do("put", `key ${i}`, `1.${i}.200000`);
    fs.truncateSync(made.image, 6 * MIB);
    tool("losetup", "-c", made.loop);
    tool("blockdev", "--flushbufs", made.loop);
    const codes = new Set<string>();
    for (let i = 0; i < 60; i++) codes.add((await puppet.call("get", `key ${i}`)).code);
    expect([...codes].sort()).toEqual(["DEVICE_SHRUNK", "POISONED", "done"].filter((code) => codes.has(code)));
    expect(codes).toContain("DEVICE_SHRUNK");
    expect((await puppet.call("put", "x", "1.1.1")).code).toBe("POISONED");
  });

  test("that is enlarged beneath a store is used to its end from the next opening on", async ({ skip }) => {
    let made = { loop: "", image: "" };
    const missing = refusalOf(() => {
      made = machine.loop(12 * MIB);
    });
    if (missing !== undefined) skip(missing);
    const { loop, image } = made;
    const puppet = await start();
    await puppet.do("open", loop);
    let count = 0;
    const fill = async (writer: Puppet): Promise<void> => {
      for (let code = "done"; code === "done"; count++) {
        ({ code } = await writer.call("put", `key ${count}`, `1.${count}.100000`));
        if (code !== "done") expect(code).toBe("NO_SPACE");
      }
      count -= 1;
    };
    await fill(puppet);
    const before = count;
    fs.truncateSync(image, 40 * MIB);
    tool("losetup", "-c", loop);
    // The store that is open goes by the size that it knows.
    await fill(puppet);
    expect(count - before).toBeLessThan(3);
    const known = count;
    await end(puppet);
    const next = await start();
    await next.do("open", loop);
    await fill(next);
    expect(count - known).toBeGreaterThan((20 * MIB) / 100_100);
    const found = (await next.do("scan")) as [string, string][];
    expect(found).toHaveLength(count);
    for (const [key, tag] of found) expect(tag).toBe(`1.${key.slice(4)}.100000`);
    await next.do("close");
  });

  test("whose writes fail behind the cache fails the sync; what was acknowledged is there when it takes writes again", async ({
    skip,
  }) => {
    let place = { point: "", loop: "" };
    let made = { loop: "", image: "" };
    const missing = refusalOf(() => {
      place = machine.newMount("tmpfs", 12 * MIB);
      made = machine.loop(64 * MIB, place.point);
    });
    if (missing !== undefined) skip(missing);
    const { loop, image } = made;
    const puppet = await start();
    await puppet.do("open", loop);
    const there = new Map<string, string>();
    for (let i = 0; i < 30; i++) {
      const [key, tag] = [`key ${i}`, `1.${i}.${i % 4 === 3 ? 300 : 150_000}`];
      await puppet.do("put", key, tag);
      there.set(key, tag);
    }
    // To its last page: the loop device takes a write that its file took in part for done, which nobody could see.
    fillUp(place.point);
    const late: [string, string][] = [["late", "2.1.150000"]];
    const failed = await puppet.call("put", "late", "2.1.150000");
    expect(failed.code).toBe("DEVICE_WRITE");
    expect(["EIO", "ENOSPC"]).toContain(failed.cause);
    // A second sync would succeed: the kernel has given up the pages. It is not asked for.
    for (const call of ["flush", "flushSync"]) expect((await puppet.call(call)).code).toBe("POISONED");
    await end(puppet);
    tool("mount", "-o", "remount,size=96m", place.point);

    const expectAll = async (writer: Puppet): Promise<void> => {
      const found = new Map((await writer.do("scan")) as [string, string][]);
      for (const [key, tag] of late) if (found.get(key) === tag) there.set(key, tag);
      expect(found).toEqual(there);
      expect(await writer.do("verify")).toEqual([]);
    };
    // The kernel's cache still holds blocks that the device never took: what is served of them is safe first.
    const next = await start();
    await next.do("open", loop);
    await expectAll(next);
    await end(next);
    late.length = 0;
    // A new loop device has nothing of that cache.
    machine.remove(loop);
    const again = machine.attach(image);
    const last = await start();
    await last.do("open", again);
    await expectAll(last);
    await last.do("put", "after", "3.1.10");
    await last.do("close");
  });
});
