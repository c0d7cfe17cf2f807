/**
 * Every growth of the memory is refused in turn. A store's memory is reserved at its opening and given out in chunks of
 * 64 KiB: over a memory that is smaller by one chunk each time, the chunk that is refused is each of them once.
 *
 * What is refused is `OUT_OF_MEMORY`, leaves everything as it was, and the log untouched; what was not refused is there.
 */
import { Gate } from "./gate.ts";
import { lasting } from "./history.ts";
import { type Base, Life, type World } from "./life.ts";
import { baseOf, judge, perform, type Workload } from "./trial.ts";
import { Violation } from "./violation.ts";

const CHUNK = 65_536;
const MIB = 1_048_576;
/** As in assembly/root.ts: where the chunks begin. */
const POOL = 0xa2000 + 2 * MIB;
const FULL = 20 * MIB;
/** Keys that take memory, so that what an operation asks for is the last that there is. */
const BALLAST_COUNT = 1900;
const BALLAST_SIZE = 2000;
/** So many chunks more than a run needs in the end: operations ask for more than they take. */
const MORE = 40;

/** A workload over a store with many keys, and how much memory it needs. */
export interface Weighed {
  workload: Workload;
  base: Base;
  /** Sizes of the memory, from one that opening refuses to one that refuses nothing. In bytes. */
  sizes: readonly number[];
}

/** Finds out how much memory a workload needs. `opening`: what opening needs is what counts. */
export async function weigh(world: World, given: Workload, chunksBelow: number): Promise<Weighed> {
  const options = { ...given.options, memoryBytes: FULL, fullMemoryBytes: FULL };
  const before = async (life: Life): Promise<void> => {
    const names = Array.from({ length: BALLAST_COUNT }, (_, i) => `ballast ${i}`.padEnd(BALLAST_SIZE, "."));
    life.batch(new Map(names.map((name) => [name, lasting("1")])));
    await life.settle();
    await given.before?.(life);
  };
  const workload: Workload = { ...given, options, before };
  const base = await baseOf(world, workload);
  const life = new Life(world, options, base, new Gate());
  let used = 0;
  const run = async (alive: Life): Promise<void> => {
    used = alive.store.stats().memoryUsedBytes;
    await given.run(alive);
    if (alive.phase === "open") used = Math.max(used, alive.store.stats().memoryUsedBytes);
  };
  await perform(life, { ...workload, run }, base);
  const sizes: number[] = [];
  const end = POOL + used + MORE * CHUNK;
  for (let size = end - (MORE + chunksBelow) * CHUNK; size <= end; size += CHUNK) sizes.push(size - (size % CHUNK));
  return { workload, base, sizes };
}

/** Runs a workload over a memory of `size` bytes: how many calls were refused. Throws a `Violation`. */
export async function memoryTrial(world: World, { workload, base }: Weighed, size: number): Promise<number> {
  world.memories.takeBack();
  const options = {
    ...workload.options,
    memoryBytes: size,
    codes: ["OUT_OF_MEMORY", ...(workload.options.codes ?? [])],
  };
  const own = { ...workload, options };
  const life = new Life(world, options, base, new Gate());
  await perform(life, own, base);
  if (life.phase === "refused" && life.device.changeCount > 0) {
    throw new Violation("opening found too little memory after it had written");
  }
  await judge(world, life, own);
  return life.refusalCount;
}
