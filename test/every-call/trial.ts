/**
 * A trial: a workload is run with one fault, and what is left of its store is judged.
 *
 * 1. A store that has to be poisoned says so to every call, and touches its device no more.
 * 2. One that must not be goes on when the fault is over: everything is made durable, and is there after a close.
 * 3. What its device shows, and what a crash would have left, is mounted again: it holds the state after one of the commits from
 *    the last acknowledged one on, and takes writes.
 */
import { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { CRASH_MODES } from "../simulation/crash.ts";
import { blankImage, type Image } from "../simulation/pages.ts";
import { contentsOf } from "./contents.ts";
import { type CallKind, type Fault, requiredOf } from "./faults.ts";
import { Gate } from "./gate.ts";
import { difference, findState } from "./history.ts";
import { type Base, type CrashPoint, Ended, Life, type LifeOptions, type World } from "./life.ts";
import { Violation } from "./violation.ts";

/** Something that is done to a store, in which every call may fail. */
export interface Workload {
  name: string;
  options: LifeOptions;
  /** What is there before: done in a life of its own, whose store is closed then. */
  before?: (life: Life) => Promise<void> | void;
  /** The store of `before` is not closed: the power is cut. */
  cut?: boolean;
  /** Options of `before`, where they are others. */
  beforeOptions?: Partial<LifeOptions>;
  /** Whether the calls of opening count. Default: those after it do. */
  opening?: boolean;
  run: (life: Life) => Promise<void> | void;
}

/** What an opening may say of a device on which a store was being made. */
const HALF_FORMATTED = ["CORRUPT", "NOT_A_STORE"];
/** Milliseconds that are let go by, so that everything that is due by itself is done. */
const SETTLE_MS = 200;

/** What is on the device before a workload, and how many calls it makes. */
export interface Counted {
  base: Base;
  calls: readonly CallKind[];
}

/** Runs a workload without a fault: what it finds, and the calls that it makes. */
export async function count(world: World, workload: Workload): Promise<Counted> {
  const base = await baseOf(world, workload);
  const gate = new Gate();
  const life = new Life(world, workload.options, base, gate);
  await perform(life, workload, base);
  // What was counted is the workload's: not what the end of the run does.
  const calls = gate.calls.slice();
  await judge(world, life, workload);
  return { base, calls };
}

/** Runs a workload with a fault. Throws a `Violation`; else the kinds of the calls that failed. */
export async function trial(
  world: World,
  workload: Workload,
  { base, calls }: Counted,
  fault: Fault,
): Promise<CallKind[]> {
  world.memories.takeBack();
  const gate = new Gate(fault, calls[fault.at]);
  const life = new Life(world, workload.options, base, gate, fault);
  await perform(life, workload, base);
  if (gate.struck.length === 0) throw new Violation("the fault never struck");
  await judge(world, life, workload, fault);
  return gate.struck;
}

/** What a workload finds. */
export async function baseOf(world: World, { options, beforeOptions, before, cut }: Workload): Promise<Base> {
  const image = blankImage(options.device.growable ? 0 : (options.deviceSize as number));
  const blank: Base = { image, commits: [], acked: 0, nowUs: 0 };
  if (before === undefined) return blank;
  const life = new Life(world, { ...options, readOnly: false, ...beforeOptions }, blank, new Gate());
  await life.open(false);
  await before(life);
  await life.settleQuietly();
  if (cut !== true) await life.close();
  const { commits, acked, clock, device } = life;
  return { image: device.shown(), commits, acked, nowUs: clock.nowUs };
}

/** Runs a workload, to its end or until the store takes no more calls. */
export async function perform(life: Life, { opening = false, run }: Workload, base: Base): Promise<void> {
  try {
    await life.open(opening);
    if (base.acked < base.commits.length || base.commits.length === 0) recover(life);
    await run(life);
    life.rethrow();
  } catch (error) {
    if (!(error instanceof Ended)) throw error;
  }
}

/** Which state the store has recovered. Reads of this may fail as any others. */
function recover(life: Life): void {
  life.read("entries", (store) => {
    const found = contentsOf(store, life.options.namespaces ?? []);
    life.recovered(judgeState(found, life, life.times(), "opening"));
  });
}

/** Holds what a run has left, in memory and on its device, against what must be. */
export async function judge(world: World, life: Life, workload: Workload, fault?: Fault): Promise<void> {
  const required = fault === undefined ? undefined : requiredOf(fault.kind, life.gate.struck);
  life.gate.end();
  const { struckIn } = life;
  if (life.phase === "open") {
    await life.settleQuietly().catch(ignoreEnded);
    await life.clock.advance(SETTLE_MS * 1000);
    await life.settleQuietly().catch(ignoreEnded);
    // A call that asked would be told, and that is looked at below.
    const poisoned = life.saidPoisoned;
    const mayBe = required?.poisoned !== false || life.isHalfway;
    if (poisoned && !mayBe) throw new Violation(`the store is poisoned${why(life)}`);
    if (!poisoned && required?.poisoned === true && struckIn === "open") {
      throw new Violation(`the store is not poisoned after ${life.gate.struck}`);
    }
    if (poisoned) await expectPoisoned(life);
    else await goOn(life);
  } else if (life.phase === "refused") {
    // Whoever opened it gives the device up.
    life.device.close();
  } else if (struckIn === "opening" && required?.poisoned === true && !life.told) {
    throw new Violation("opening went on over a device that failed to write");
  }
  life.rethrow();
  await remount(world, life, workload);
}

/** A poisoned store refuses every call, with the cause, and leaves its device alone. */
async function expectPoisoned(life: Life): Promise<void> {
  const { store, device } = life;
  const before = device.changeCount;
  if (!life.told) {
    // Nobody has heard of it so far: a close that resolved would say that all is well.
    const code = codeOf(
      await life.wait(
        thrownBy(() => store.close()),
        "close",
      ),
    );
    if (code !== "POISONED") throw new Violation(`nobody was told of the failure, and close gives ${code}`);
  }
  const expected = life.told ? "POISONED" : "CLOSED";
  const calls: (() => unknown)[] = [
    () => store.get("x"),
    () => store.set("x", "1"),
    () => store.delete("x"),
    () => store.put("x", "1"),
    () => store.batch([{ type: "set", key: "x", value: "1" }]),
    () => store.flush(),
    () => store.flushSync(),
    () => store.count(),
    () => [...store.keys()],
    () => store.getAsync("x"),
    () => store.compact(),
    () => store.verify(),
  ];
  for (const call of calls) {
    const error = await life.wait(thrownBy(call), "a call of a poisoned store");
    if (codeOf(error) !== expected || (life.told && (error as CairnError).cause === undefined)) {
      throw new Violation(`a poisoned store answers ${String(error)} to ${call}`);
    }
  }
  if (life.told) {
    const error = await life.wait(
      thrownBy(() => store.close()),
      "close",
    );
    if (error !== undefined) throw new Violation(`the failure is known, and close gives ${String(error)}`);
  }
  if (device.changeCount !== before) throw new Violation("a poisoned store went on writing");
  if (!device.isClosed) throw new Violation("a poisoned store kept its device");
}

/** A store that is not poisoned is as good as before, now that the fault is over. */
async function goOn(life: Life): Promise<void> {
  life.scan();
  if (life.options.readOnly !== true) {
    if (life.options.device.growable) life.set("after the fault", "1");
    await life.flush();
    life.scan();
  }
  await expectSound(life.store, (report) => life.wait(report, "verify"));
  await life.close();
}

/** Mounts what the device shows, and what crashes would have left. */
async function remount(world: World, life: Life, workload: Workload): Promise<void> {
  const { device, commits, acked, clock } = life;
  const shown = device.shown();
  const last: CrashPoint = { image: shown, commits, acked, nowUs: clock.nowUs, where: "as it is" };
  life.capture("none", "in the end");
  life.capture(CRASH_MODES[life.gate.struck.length % CRASH_MODES.length] as (typeof CRASH_MODES)[number], "in the end");
  const seen: Image[] = [];
  const isClosed = life.phase === "closed" && life.acked === life.commits.length;
  for (const point of [last, ...life.crashes]) {
    if (seen.some((image) => sameImage(image, point.image)) && point !== last) continue;
    seen.push(point.image);
    try {
      await mountOne(world, life, workload, point, point === last, isClosed && point === last);
    } catch (error) {
      if (!(error instanceof Violation) && !(error instanceof CairnError)) throw error;
      throw new Violation(`${point.where}: ${error.message}`, { cause: error });
    }
  }
}

async function mountOne(
  world: World,
  before: Life,
  { options }: Workload,
  point: CrashPoint,
  writes: boolean,
  isExact: boolean,
): Promise<void> {
  const life = new Life(world, mounting(options), point, new Gate());
  try {
    await life.open(false);
  } catch (error) {
    // A store that nobody was ever given may be half there.
    const code = (error as { cause?: { code?: string } }).cause?.code ?? "";
    if (point.commits.length === 0 && HALF_FORMATTED.includes(code) && before.struckIn === "opening") return;
    throw error;
  }
  const found = contentsOf(life.store, options.namespaces ?? []);
  const { lowMs, highMs } = before.times();
  const times = { lowMs: Math.min(lowMs, life.clock.wallMs()), highMs: Math.max(highMs, life.clock.wallMs()) };
  const number = judgeState(found, { ...point }, times, "mounting");
  if (isExact && number !== point.commits.length) throw new Violation("what was closed in order is not what is there");
  if (life.store.stats().checkpointFallbackCount > 0) throw new Violation("opening met a damaged checkpoint");
  await expectSound(life.store, (report) => life.wait(report, "verify"));
  if (!writes) return;
  life.recovered(number);
  const { growable } = options.device;
  if (growable) life.set("after mounting", "1");
  await life.flush();
  await life.close();
  const again = new Life(world, mounting(options), baseAfter(life), new Gate());
  await again.open(false);
  const later = contentsOf(again.store, options.namespaces ?? []);
  const wrong = difference(life.model, later, times);
  if (wrong !== undefined) throw new Violation(`mounting again: ${wrong}`);
}

/** How a device is opened for being looked at: for writing, with all the memory that it needs, and no excuse. */
function mounting({ codes, memoryBytes, fullMemoryBytes, ...options }: LifeOptions): LifeOptions {
  const isVolume = !options.device.growable && codes !== undefined;
  const excused = isVolume ? { codes } : {};
  return {
    ...options,
    readOnly: false,
    ...excused,
    ...(fullMemoryBytes === undefined ? {} : { memoryBytes: fullMemoryBytes }),
  };
}

function baseAfter({ device, commits, acked, clock }: Life): Base {
  return { image: device.shown(), commits, acked, nowUs: clock.nowUs };
}

/** The number of the commit whose state was found. */
function judgeState(
  found: Map<string, string>,
  { commits, acked }: Pick<Base, "commits" | "acked">,
  times: { lowMs: number; highMs: number },
  when: string,
): number {
  const number = findState(commits, found, acked, commits.length, times);
  if (number >= 0) return number;
  const lost = findState(commits, found, 0, acked, times);
  const what = lost >= 0 ? `the state after commit ${lost}` : "no state that it ever had";
  throw new Violation(`${when} gives ${what}; acknowledged were ${acked} of ${commits.length}`);
}

/** `verify` finds nothing. A power cut may leave a copy of the superblock half written: the next one replaces it. */
async function expectSound<T extends Store>(
  store: T,
  wait: (report: ReturnType<Store["verify"]>) => ReturnType<Store["verify"]>,
): Promise<void> {
  const { faults } = await wait(store.verify());
  const [fault] = faults.filter(({ kind }) => kind !== "superblock");
  if (fault !== undefined) throw new Violation(`verify finds ${fault.kind}: ${fault.message}`);
}

async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof CairnError ? error.code : error === undefined ? "nothing" : String(error);
}

function ignoreEnded(error: unknown): void {
  if (!(error instanceof Ended)) throw error;
}

function why(life: Life): string {
  try {
    life.store.get("x");
    return "";
  } catch (error) {
    return `: ${(error as Error).message}`;
  }
}

function sameImage(a: Image, b: Image): boolean {
  if (a.size !== b.size || a.pages.length !== b.pages.length) return false;
  return a.pages.every((page, i) => page === b.pages[i]);
}
