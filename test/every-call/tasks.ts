/**
 * What is done to devices without a store that is open over them: restoring a backup, and repairing. Each call to any of the
 * devices fails in turn. What rejects does so with a `CairnError`; what resolves is on stable storage; a device that was only
 * to be read is not changed; and done again over devices that work, it comes to what it should.
 */
import { openOn } from "../../hosts/opening.ts";
import { repairOn } from "../../hosts/repairing.ts";
import { restoreOn } from "../../hosts/restoring.ts";
import { CairnError } from "../../store/error.ts";
import { VirtualClock } from "../simulation/clock.ts";
import { blankImage, type Image, Page, pageOf } from "../simulation/pages.ts";
import { Random } from "../simulation/random.ts";
import { contentsOf } from "./contents.ts";
import { type DeviceKind, FailingDevice } from "./device.ts";
import { type CallKind, type Fault, requiredOf, writes } from "./faults.ts";
import { Gate } from "./gate.ts";
import type { Base, World } from "./life.ts";
import { Life } from "./life.ts";
import { key, text } from "./texts.ts";
import type { Counted } from "./trial.ts";
import { Violation } from "./violation.ts";
import { waitFor } from "./waiting.ts";

const MIB = 1_048_576;
const FILE: DeviceKind = { growable: true, readsAsync: true, commits: true };
const KEYS = 24;

/** Something that is done to devices. */
export interface Task {
  name: string;
  run(world: World, fault: Fault | undefined, calls: readonly CallKind[]): Promise<Gate>;
}

/** What one run of a task has to do with. */
class Bench {
  readonly clock = new VirtualClock();
  readonly gate: Gate;
  readonly world: World;
  private readonly fault: Fault | undefined;

  constructor(world: World, fault: Fault | undefined, expected: CallKind | undefined) {
    this.world = world;
    this.fault = fault;
    this.gate = new Gate(fault, expected);
    // Each is one call, which looks at a device several times.
    this.gate.boundsReads = false;
    this.clock.install();
  }

  device(image: Image = blankImage(0)): FailingDevice {
    return new FailingDevice(FILE, image, this.clock, this.gate);
  }

  get open() {
    const { module } = this.world;
    return openOn({
      loadModule: async () => module,
      openTarget: () => Promise.reject(new Error("a task names devices alone")),
    });
  }

  /** Waits for something, with the gate open: the error that it rejects with, or `undefined`. */
  async tried(what: string, body: () => Promise<unknown>): Promise<CairnError | undefined> {
    this.clock.install();
    this.gate.begin();
    let refusal: unknown;
    let isRefused = false;
    try {
      await waitFor(this.clock, body(), what);
    } catch (error) {
      refusal = error;
      isRefused = true;
    }
    this.gate.end();
    const [wrong] = this.gate.violations;
    if (wrong !== undefined) throw new Violation(wrong);
    if (!isRefused) return undefined;
    if (refusal instanceof Violation) throw refusal;
    if (!(refusal instanceof CairnError))
      throw new Violation(`${what} gives ${String(refusal)}, which is no CairnError`);
    const { kind } = this.fault as Fault;
    const { codes } = requiredOf(kind, this.gate.struck);
    // What was written and does not read back is told as that, however it failed.
    if (!codes.includes(refusal.code) && !(kind === "zero" && refusal.code === "DEVICE_READ")) {
      throw new Violation(`${what} gives ${refusal.code} after ${this.gate.struck.slice(0, 3)}: ${refusal.message}`);
    }
    return refusal;
  }
}

function blank(): Base {
  return { image: blankImage(0), commits: [], acked: 0, nowUs: 0 };
}

/** A store of some keys, closed: its image, and what it holds. Also its backup. */
async function made(world: World): Promise<{ image: Image; backup: Uint8Array; holds: Map<string, string> }> {
  const life = new Life(world, { device: FILE }, blank(), new Gate());
  await life.open(false);
  for (let i = 0; i < KEYS; i++) life.set(key(i), text(i, 3000));
  await life.flush();
  for (let i = 0; i < KEYS; i += 3) life.set(key(i), text(100 + i, 2000));
  life.delete(key(1));
  await life.flush();
  const chunks: Uint8Array[] = [];
  await life.later("backup", async (store) => {
    const reader = store.backup().getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value.slice());
  });
  await life.close();
  const holds = new Map([...life.model].map(([name, { text: value }]) => [name, value]));
  return { image: life.device.shown(), backup: Buffer.concat(chunks), holds };
}

/** What a store on an image holds; the code with which it does not open. */
async function heldBy(world: World, image: Image): Promise<Map<string, string> | string> {
  const life = new Life(world, { device: FILE }, { ...blank(), image }, new Gate());
  try {
    await life.open(false);
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause;
    if (cause instanceof CairnError) return cause.code;
    throw error;
  }
  return contentsOf(life.store, []);
}

function same(a: Map<string, string> | string, b: Map<string, string>): boolean {
  if (typeof a === "string" || a.size !== b.size) return false;
  return [...b].every(([name, value]) => a.get(name) === value);
}

export const TASKS: readonly Task[] = [
  {
    name: "restore",
    run: async (world, fault, calls) => {
      const { backup, holds } = await made(world);
      const bench = new Bench(world, fault, calls[fault?.at ?? -1]);
      const restore = restoreOn(bench.open);
      const device = bench.device();
      const refused = await bench.tried("restore", () => restore(device, [backup]));
      if (refused === undefined) {
        if (fault !== undefined && bench.gate.struck.some(writes) && fault.kind !== "short") {
          throw new Violation("restore resolves over a device that failed to write");
        }
        const kept = await heldBy(world, device.crashed("none", new Random(1n)));
        if (!same(kept, holds)) throw new Violation("what restore resolved for is not on stable storage");
        return bench.gate;
      }
      const left = await heldBy(world, device.shown());
      if (typeof left !== "string" && left.size > 0 && !same(left, holds)) {
        throw new Violation("a restore that failed has left a part of a store");
      }
      const again = new Bench(world, undefined, undefined);
      const whole = again.device(device.shown());
      await again.tried("restore", () => restoreOn(again.open)(whole, [backup], { overwrite: true }));
      if (!same(await heldBy(world, whole.shown()), holds))
        throw new Violation("a second restore gives something else");
      return bench.gate;
    },
  },
  {
    name: "repair",
    run: async (world, fault, calls) => {
      const { image, holds } = await made(world);
      // One copy of the superblock, and a block of the log, are not what they were.
      const pages = image.pages.slice();
      for (const block of [0, 256 + 9]) {
        const page = pageOf(pages, block).slice();
        page[100] = (page[100] as number) ^ 1;
        pages[block] = new Page(page);
      }
      const bench = new Bench(world, fault, calls[fault?.at ?? -1]);
      const damaged = bench.device({ pages, size: image.size });
      const output = bench.device();
      const unproven = bench.device();
      const refused = await bench.tried("repair", () =>
        repairOn(bench.open)(damaged, { output, unproven, memoryBytes: 16 * MIB }),
      );
      if (damaged.changeCount > 0) throw new Violation("repair changed the damaged store");
      if (refused !== undefined) return bench.gate;
      const kept = await heldBy(world, output.crashed("none", new Random(1n)));
      if (typeof kept === "string") throw new Violation(`what repair resolved for does not open: ${kept}`);
      if (kept.size === 0) throw new Violation("repair found nothing");
      for (const [name, value] of kept) {
        if (holds.get(name) !== value) throw new Violation(`repair gives another value of ${name}`);
      }
      return bench.gate;
    },
  },
];

/** Runs a task without a fault: the calls that it makes. */
export async function countTask(world: World, task: Task): Promise<Counted> {
  const gate = await task.run(world, undefined, []);
  return { base: blank(), calls: gate.calls.slice() };
}

/** Runs a task with a fault. Throws a `Violation`; else the kinds of the calls that failed. */
export async function taskTrial(world: World, task: Task, { calls }: Counted, fault: Fault): Promise<CallKind[]> {
  world.memories.takeBack();
  const { struck } = await task.run(world, fault, calls);
  if (struck.length === 0) throw new Violation("the fault never struck");
  return struck;
}
