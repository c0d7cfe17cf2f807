/** The oracle: mounts what a crash left, and holds it against every state that it may be. */
import { CairnError } from "../../store/error.ts";
import { VirtualClock } from "./clock.ts";
import { contentsOf, scanOf } from "./contents.ts";
import { CRASH_MODES } from "./crash.ts";
import { SimulatedDevice } from "./device.ts";
import { type InstancePool, openOver, type Store, simulatedHost } from "./host.ts";
import { hashOfImage, type Image } from "./pages.ts";
import { mix, Random } from "./random.ts";
import { type Found, type State, type Timeline, UNREADABLE } from "./timeline.ts";
import type { Trace } from "./trace.ts";
import { encodeKey, keyOf, sameValue } from "./values.ts";
import { Violation } from "./violation.ts";
import { type Plan, SEGMENT_SIZE } from "./workload.ts";

/** Shares of the images that are also written to, and crashed while they are recovered. */
const WRITE_SHARE = 0.25;
const RECOVERY_CRASH_SHARE = 0.02;
const DEPTH_MAX = 4;
const HALF_FORMATTED = ["CORRUPT", "NOT_A_STORE"];

/** An image that a crash left, and what is known of it. */
export interface CrashPoint {
  image: Image;
  timeline: Timeline;
  /** Commits that were acknowledged as durable, and that were issued. */
  acked: number;
  issued: number;
  /** Whether the device has lied. */
  isSilent: boolean;
  /** What the clock was off by, and the highest time that it had ever shown, in milliseconds. */
  skewMs: number;
  highestMs: number;
  /** A time that the store had seen before a commit that was acknowledged as durable: what had expired by then is gone. */
  durableMs: number;
  /** Which life of the run, which image of it, and how many crashes during recovery. */
  life: number;
  serial: number;
  depth: number;
  /** Whether no crash left it, but a backup that was restored: then it is no schedule. */
  isRestored?: boolean;
}

/** Checks images of one run. */
export class Oracle {
  /** Distinct images that were mounted and checked. */
  scheduleCount = 0;
  /** Recoveries that were crashed. */
  recoveryCrashCount = 0;
  private readonly plan: Plan;
  private readonly trace: Trace;
  private readonly pool: InstancePool;
  /** What images of the run were found to hold. */
  private readonly known = new Map<number, { found: Found | "none"; lowMs: number }>();

  constructor(plan: Plan, trace: Trace, pool: InstancePool) {
    this.plan = plan;
    this.pool = pool;
    this.trace = trace;
  }

  /** Checks an image, and images of its recovery, and of theirs. Throws a `Violation`. */
  async check(first: CrashPoint): Promise<void> {
    for (const points = [first]; points.length > 0; ) {
      const point = points.pop() as CrashPoint;
      try {
        points.push(...(await this.one(point)));
      } catch (error) {
        const depth = point.depth === 0 ? "" : `, after ${point.depth} crashes during recovery`;
        const where = `life ${point.life}, image ${point.serial}${depth}: `;
        const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
        throw new Violation(where + what, { cause: error });
      }
    }
  }

  /** Checks one image: images of its own recovery, to be checked as well. */
  private async one(point: CrashPoint): Promise<CrashPoint[]> {
    const key = hashOfImage(point.image);
    const before = this.known.get(key);
    if (before !== undefined) {
      // The same bytes hold the same: only what they are held against is new.
      this.judge(before.found, before.lowMs, point);
      return [];
    }
    if (point.isRestored !== true) this.scheduleCount++;
    this.pool.takeBack();
    const random = new Random(this.plan.seed).fork(mix(point.life * 0x10001 + point.serial * 8 + point.depth));
    const clock = new VirtualClock();
    clock.skewMs = point.skewMs;
    clock.install();
    const lowMs = clock.wallMs();
    const device = this.deviceOver(point.image, clock, random);
    const crashes: CrashPoint[] = [];
    if (point.depth < DEPTH_MAX) {
      device.onChange = () => {
        if (!random.chance(RECOVERY_CRASH_SHARE)) return;
        const image = device.crashed(random.pick(CRASH_MODES), random);
        crashes.push({ ...point, image, serial: point.serial * 100 + crashes.length, depth: point.depth + 1 });
      };
    }
    let store: Store;
    try {
      store = await this.open(device, clock, random);
    } catch (error) {
      const code = error instanceof CairnError ? error.code : "";
      if (!(point.isSilent || point.issued === 0) || !HALF_FORMATTED.includes(code)) throw error;
      this.known.set(key, { found: "none", lowMs });
      return crashes;
    }
    device.onChange = undefined;
    this.recoveryCrashCount += crashes.length;
    const found = contentsOf(store, point.isSilent);
    this.known.set(key, { found, lowMs });
    const count = this.judge(found, lowMs, point);
    this.trace.add("mounted", count, found.size);
    if (point.isSilent) return crashes;
    await this.verify(store, clock);
    await this.mountAgain(device.shown(), found, clock.skewMs, random);
    if (random.chance(WRITE_SHARE)) {
      await this.writeOn(store, device, found, point.timeline.state(count), clock, random);
    }
    return crashes;
  }

  /** The number of the commit whose state was found. */
  private judge(found: Found | "none", lowMs: number, point: CrashPoint): number {
    if (found === "none") return -1;
    const { timeline, acked, issued, isSilent } = point;
    const least = isSilent ? 0 : acked;
    const times = {
      lowMs: isSilent ? lowMs : Math.max(lowMs, point.durableMs),
      highMs: Math.max(lowMs, point.highestMs),
    };
    const count = timeline.find(found, least, issued, times);
    if (count < 0) throw new Violation(timeline.explain(found, least, issued));
    return count;
  }

  private async verify(store: Store, clock: VirtualClock): Promise<void> {
    const report = await clock.wait(store.verify(), () => new Violation("verify never ends"));
    // A power cut may leave a copy of the superblock half written; the next one replaces it.
    const faults = report.faults.filter(({ kind }) => kind !== "superblock");
    if (faults.length > 0) throw new Violation(`verify finds ${JSON.stringify(faults.slice(0, 2))}`);
    const stats = store.stats();
    expectWholeCheckpoints(stats);
    const { segmentCount, checkpointSegmentBytes } = stats;
    const checkpoints = checkpointSegmentBytes / SEGMENT_SIZE;
    const { segmentsFree, segmentsUsed } = report;
    if (segmentsFree + segmentsUsed + checkpoints !== segmentCount) {
      throw new Violation(
        `${segmentsFree} free, ${segmentsUsed} used and ${checkpoints} segments of checkpoints are not ${segmentCount}`,
      );
    }
  }

  /** Mounting again changes nothing. */
  private async mountAgain(image: Image, found: Found, skewMs: number, random: Random): Promise<void> {
    const clock = new VirtualClock();
    clock.skewMs = skewMs;
    clock.install();
    const store = await this.open(this.deviceOver(image, clock, random), clock, random);
    compare(found, scanOf(store), "mounting again");
  }

  /** What is written after a recovery is there after the next one. `state` is what was found, with its expiries. */
  private async writeOn(
    store: Store,
    device: SimulatedDevice,
    found: Found,
    state: State,
    clock: VirtualClock,
    random: Random,
  ) {
    clock.install();
    const { binaryKeys, binaryValues } = this.plan.options;
    const after = new Map(found);
    const expiring = new Map<string, number>();
    for (const key of found.keys()) {
      const expiresAt = state.get(key)?.expiresAt;
      if (expiresAt !== undefined) expiring.set(key, expiresAt);
    }
    const fromMs = clock.wallMs();
    try {
      for (let i = 0; i < 3; i++) {
        const key = keyOf(random.below(50));
        const value = binaryValues ? new Uint8Array([1, 2, i]) : `after ${i}`;
        store.set(encodeKey(key, binaryKeys), value);
        after.set(key, value);
        expiring.delete(key);
      }
    } catch (error) {
      if (this.plan.options.device.growable || !(error instanceof CairnError) || error.code !== "NO_SPACE") throw error;
      // A device that is full still deletes.
      const [key] = after.keys();
      if (key === undefined || !store.delete(encodeKey(key, binaryKeys))) throw error;
      after.delete(key);
    }
    if (random.chance(0.3)) await clock.wait(store.compact({ full: true }), () => new Violation("compact never ends"));
    store.flushSync();
    const toMs = clock.wallMs();
    const image = device.crashed("none", random);
    const next = new VirtualClock();
    next.skewMs = clock.skewMs;
    next.install();
    const later = await this.open(this.deviceOver(image, next, random), next, random);
    const shown = scanOf(later);
    // The group of what was written tells a time between these two.
    for (const [key, expiresAt] of expiring) {
      if (expiresAt <= fromMs || (expiresAt <= toMs && !shown.has(key))) after.delete(key);
    }
    compare(after, shown, "after a write and a recovery");
  }

  private deviceOver(image: Image, clock: VirtualClock, random: Random): SimulatedDevice {
    const kind = { ...this.plan.options.device, capacity: Number.POSITIVE_INFINITY };
    return new SimulatedDevice(kind, image, clock, random, this.trace);
  }

  private open(device: SimulatedDevice, clock: VirtualClock, random: Random): Promise<Store> {
    const { options } = this.plan;
    const host = simulatedHost(clock, random, options.shortTransfers, this.pool);
    return openOver(device, host, clock, options);
  }
}

/** What a superblock names as a checkpoint is whole, unless the device lied: it was durable before it was named. */
export function expectWholeCheckpoints({ checkpointFallbackCount }: ReturnType<Store["stats"]>): void {
  if (checkpointFallbackCount > 0) throw new Violation(`opening met ${checkpointFallbackCount} damaged checkpoints`);
}

/** Throws when two readings of a store differ. */
export function compare(expected: Found, found: Found, when: string): void {
  for (const key of new Set([...expected.keys(), ...found.keys()])) {
    const value = expected.get(key);
    const other = found.get(key);
    if (value === UNREADABLE || other === UNREADABLE) continue;
    if (value === undefined || !sameValue({ serial: 0, size: 0, data: value as string | Uint8Array }, other)) {
      throw new Violation(`${when} gives another state: ${key.slice(0, 24)} differs`);
    }
  }
}
