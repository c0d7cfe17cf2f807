/**
 * Two openers of one device, which no lock kept apart, at every instant that they can meet: one stops before a call to its device,
 * the other one does all that it wants, and the first goes on. At most one acknowledges, and what was acknowledged is there.
 */
import { describe, expect, test } from "vitest";
import { Core, MOUNT_FENCE, MOUNT_GROWABLE, MOUNT_PREDECESSOR_ALIVE } from "../../store/core.ts";
import type { BlockDevice } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { openStore } from "../../store/open.ts";
import { readOptions } from "../../store/options.ts";
import { Session } from "../../store/session.ts";
import { Store } from "../../store/store.ts";
import { host } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const SMALL_BYTES = 16_777_216;
const settings = readOptions({
  memoryBytes: SMALL_BYTES,
  writeBufferBytes: 262_144,
  cacheBytes: 262_144,
  durability: "manual",
  compaction: { auto: false },
});
/** Of the engine `dual`, the only one. */
const ENGINE_DUAL = 1;
const FIXED_SIZE = 14 * 65_536 + 1_048_576;

/** Another opener's view of the same bytes. `before` is called before each of its calls, with how many there were. */
function viewOf(device: ImageDevice, before: (count: number) => void = () => undefined): BlockDevice {
  let count = 0;
  const called = (): void => before(count++);
  return {
    growable: device.growable,
    size: () => device.size(),
    read: (offset, target) => {
      called();
      return device.read(offset, target);
    },
    write: (offset, source) => {
      called();
      return device.write(offset, source);
    },
    writeAsync: (pieces) => device.writeAsync(pieces),
    sync: () => {
      called();
      device.sync();
    },
    syncAsync: () => device.syncAsync(),
    resize: (size) => {
      called();
      device.resize(size);
    },
    close: () => undefined,
  };
}

/** What opens a view at once, without a turn of the event loop. */
async function opener(view: BlockDevice): Promise<() => Store> {
  const core = await Core.create(await host(), view, settings.memoryBytes, false);
  return () => {
    const { exports } = core;
    const flags = MOUNT_FENCE | (view.growable ? MOUNT_GROWABLE | MOUNT_PREDECESSOR_ALIVE : 0);
    const { byteLength } = core.memory.buffer;
    let status = exports.initialize(byteLength, settings.writeBufferBytes, settings.cacheBytes, 0);
    if (status >= 0) status = exports.probe(core.handle);
    if (status >= 0) status = exports.mount(core.handle, core.uncachedHandle, ENGINE_DUAL, flags);
    if (status < 0) throw core.error(status, "open");
    const ending = { release: () => undefined, remount: () => Promise.reject(new Error("reads alone")) };
    return new Store<string, string>(new Session(core, settings, ending), settings.keys, settings.values);
  };
}

async function open(device: BlockDevice): Promise<Store> {
  return openStore<string, string>(
    { device, host: await host(), release: () => undefined, segmentBlocks: 16 },
    settings,
  );
}

/** A store that holds some, closed in order or left as by a kill. */
async function before(growable: boolean, closed: boolean): Promise<ImageDevice> {
  const device = new ImageDevice(growable ? 0 : FIXED_SIZE, growable);
  const store = await open(device);
  for (let i = 14; i < 20; i++) store.set(`key ${i}`, `${i}`.padStart(9000, "-"));
  store.delete("key 15");
  await store.flush();
  if (closed) await store.close();
  return device.reopen();
}

/** What several openers were told is durable: they count on, as each finds it. */
class Count {
  readonly acknowledged = new Map<number, string>();
  readonly codes = new Set<string>();
  readonly wrong: string[] = [];

  /** Counts on in a store, with as many bytes as make it grow where there are many. */
  on(store: Store | undefined, name: string, size = 10): void {
    if (store === undefined) return;
    this.refusable(() => {
      const number = Number(store.get("count") ?? "0") + 1;
      store.set("count", String(number));
      store.set(`number ${number}`, name.padEnd(size, "."));
      store.flushSync();
      const other = this.acknowledged.get(number);
      if (other !== undefined) this.wrong.push(`${number} is durable of ${other} and of ${name}`);
      this.acknowledged.set(number, name);
    });
  }

  /** What is done, or `undefined` when it was refused as it may be. */
  refusable<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      const code = error instanceof CairnError ? error.code : String(error);
      this.codes.add(code);
      if (code !== "FENCED" && code !== "POISONED") this.wrong.push(String(error));
      return undefined;
    }
  }

  /** Opens what is left, and looks for what was acknowledged. */
  async judge(device: ImageDevice, at: string): Promise<void> {
    expect(this.wrong, at).toEqual([]);
    const store = await open({ ...viewOf(device) });
    const missing = [...this.acknowledged].filter(([n, name]) => !store.get(`number ${n}`)?.startsWith(name));
    expect(missing, `lost ${at}`).toEqual([]);
    expect(store.get("key 19"), at).toContain("19");
    expect(
      (await store.verify()).faults.filter(({ kind }) => kind !== "superblock"),
      at,
    ).toEqual([]);
    await store.put("after", at);
    await store.close();
  }
}

describe("two that open a store, neither of which knows of the other", () => {
  test.each([
    ["a file that was closed in order", true, true],
    ["a file that was not closed", true, false],
    // Where it was not, both have the same space to write to.
    ["a block device that was closed in order", false, true],
  ])("one acknowledges: in %s", async (_what, growable, closed) => {
    const image = (await before(growable, closed)).image();
    let owners = 0;
    for (let stop = 0, isOver = false; !isOver; stop++) {
      const device = ImageDevice.of(image, growable);
      const count = new Count();
      let second: Store | undefined;
      let stopped = false;
      const openSecond = await opener(viewOf(device));
      const openFirst = await opener(
        viewOf(device, (calls) => {
          if (calls !== stop) return;
          stopped = true;
          second = count.refusable(openSecond);
          count.on(second, "second");
          count.on(second, "second again");
        }),
      );
      const first = count.refusable(openFirst);
      isOver = !stopped;
      for (const name of ["a", "b"]) {
        count.on(first, `first ${name}`);
        count.on(second, `second ${name}`, 70_000);
      }
      owners += count.acknowledged.size > 0 ? 1 : 0;
      await count.judge(device, `stopped before call ${stop}`);
    }
    expect(owners).toBeGreaterThan(10);
  });
});

describe("one that is stopped while a successor opens", () => {
  test("while it closes: cuts nothing off that is the successor's", async () => {
    let calls = 0;
    for (let stop = 0, isOver = false; !isOver; stop++) {
      const device = new ImageDevice();
      const count = new Count();
      let second: Store | undefined;
      let closing = false;
      let armed = -1;
      let stopped = false;
      const openSecond = await opener(viewOf(device));
      const first = await open(
        viewOf(device, (call) => {
          if (armed < 0) armed = call;
          if (closing && call - armed === stop) {
            stopped = true;
            second = count.refusable(openSecond);
            for (let i = 0; i < 4; i++) count.on(second, `second ${i}`, 200_000);
          }
          if (!closing) armed = -1;
        }),
      );
      for (let i = 0; i < 20; i++) first.set(`key ${i}`, `${i}`.padStart(60_000, "-"));
      await first.flush();
      for (let i = 0; i < 19; i++) first.delete(`key ${i}`);
      await first.flush();
      first.set("key 19", "19");
      closing = true;
      count.refusable(() => {
        const status = first["session"].core.exports.close();
        if (status < 0) throw first["session"].core.error(status, "close");
      });
      isOver = !stopped;
      count.on(second, "second at last", 200_000);
      calls = stop;
      await count.judge(device, `stopped before call ${stop}`);
    }
    expect(calls).toBeGreaterThan(10);
  });

  test("before it writes: it grows the file no more, and makes it no smaller", async () => {
    const device = await before(true, true);
    const count = new Count();
    const first = (await opener(viewOf(device)))();
    const second = (await opener(viewOf(device)))();
    for (let i = 0; i < 20; i++) count.on(second, `second ${i}`, 200_000);
    const size = device.size();
    count.refusable(() => {
      for (let i = 0; i < 100; i++) first.set(`late ${i}`, "+".repeat(60_000));
    });
    expect(device.size()).toBe(size);
    await count.judge(device, "at its end");
  });
});
