/**
 * What a run does, planned from its seed before it begins: the store's options, the operations, the faults.
 *
 * Swarm testing: each seed leaves out some operations and exaggerates others, so that no kind of run is the average of
 * all. An operation brings random numbers of its own, so leaving another one out does not change what it does.
 */
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { DeviceKind } from "./device.ts";
import { FAULT_KINDS, type Fault, SILENT } from "./faults.ts";
import { Random } from "./random.ts";

/** Every kind of operation, and how likely it is where it is not left out. */
const WEIGHTS = {
  set: 20,
  put: 10,
  delete: 8,
  del: 3,
  batch: 5,
  commit: 3,
  clear: 1,
  get: 4,
  getAsync: 3,
  getMany: 2,
  count: 1,
  scan: 2,
  scanAsync: 1,
  open: 2,
  step: 4,
  drop: 2,
  flush: 3,
  flushSync: 4,
  burst: 0.4,
  compact: 3,
  compactFull: 0.8,
  verify: 0.5,
  wait: 5,
  settle: 2,
  rest: 0.7,
  expire: 6,
  jump: 2.5,
  snapshot: 1.5,
  look: 3,
  release: 1,
  transaction: 3,
  begin: 2,
  end: 2.5,
  reopen: 0.7,
  powerCut: 1,
  kill: 1,
  takeOver: 0.3,
  enlarge: 0.2,
  cutShort: 0.2,
} as const;

/** Those that some seeds have besides, between the others: what seeds do without them is what they did before there were any. */
const BESIDE = { openReader: 3, askReader: 6, refreshReader: 3, closeReader: 1, backup: 3, readBackup: 6 } as const;
const BESIDE_SHARE = 0.35;

/** Kinds that a run always has: without them nothing would ever be written, or lost. */
const ALWAYS = ["set", "powerCut"];

export type OperationKind = keyof typeof WEIGHTS | keyof typeof BESIDE;

/** One operation. */
export interface Operation {
  /** Its number in the run's plan. */
  index: number;
  kind: OperationKind;
  /** What its own random numbers come from. */
  label: number;
}

/** How the store is opened, and what it is used for. */
export interface SimulationOptions {
  device: DeviceKind;
  /** Bytes of a device that does not grow. */
  deviceSize: number;
  durability: "interval" | "sync" | "manual";
  flushIntervalMs: number;
  compacts: boolean;
  garbageRatio: number;
  binaryKeys: boolean;
  binaryValues: boolean;
  /** Whether the host transfers less than it is asked for, now and then. */
  shortTransfers: boolean;
  keyCount: number;
  /** Share of the writes that go to a few keys. */
  skew: number;
  /** Weights of the classes of value sizes: inline, within a block, over blocks, over segments. */
  sizes: readonly number[];
  /** Values of 40 kB that are there from the beginning, so that segments are used anew as soon as they are free. */
  ballast: number;
  /** Small values that are there from the beginning: no seed asks for any, `--options` may. */
  crowd?: number;
  cacheBytes: number;
  /** How often checkpoints are made. */
  checkpoints: CheckpointPace;
}

/** A planned run. */
export interface Plan {
  seed: bigint;
  options: SimulationOptions;
  operations: readonly Operation[];
  faults: readonly Fault[];
}

const MIB = 1_048_576;
/** Bytes of a segment: 16 blocks. */
export const SEGMENT_SIZE = 65_536;

/** The run of a seed. */
export function planOf(seed: bigint): Plan {
  const random = new Random(seed);
  const options = optionsOf(random.fork(1));
  const operations = withBeside(operationsOf(random.fork(2), options), random.fork(6));
  const faults = random.fork(3).chance(0.35) ? faultsOf(random.fork(4)) : [];
  return { seed, options, operations, faults };
}

function optionsOf(random: Random): SimulationOptions {
  const growable = random.chance(0.4);
  const tight = !growable && random.chance(0.6);
  const segments = tight ? random.between(12, 24) : random.between(20, 60);
  const fill = tight ? 0.2 + random.unit() * 0.4 : 0;
  return {
    device: {
      growable,
      sectorSize: random.chance(0.5) ? 512 : 4096,
      capacity: growable && random.chance(0.25) ? MIB + random.between(12, 40) * SEGMENT_SIZE : 64 * MIB,
      readsAsync: random.chance(0.5),
      commits: random.chance(0.4),
      latencyUs: random.pick([3, 200, 5000]),
    },
    deviceSize: growable ? 0 : MIB + segments * SEGMENT_SIZE,
    durability: random.pick(["interval", "interval", "manual", "manual", "sync"]),
    flushIntervalMs: random.pick([1, 5, 50]),
    compacts: random.chance(0.6),
    garbageRatio: random.pick([0.05, 0.1, 0.3]),
    binaryKeys: random.chance(0.3),
    binaryValues: random.chance(0.4),
    shortTransfers: random.chance(0.15),
    keyCount: random.pick([2, 6, 15, 40]),
    skew: random.chance(0.5) ? random.unit() : 0,
    sizes: random.pick([
      [10, 0, 0, 0],
      [6, 3, 0, 0],
      [6, 3, 1, 0],
      [5, 3, 2, 0.3],
      [1, 2, 5, 0.1],
    ]),
    ballast: tight ? Math.floor(((segments - 6) * fill * SEGMENT_SIZE) / 40_000) : 0,
    cacheBytes: random.pick([0, 65_536]),
    checkpoints: random.pick([
      {},
      { logBytes: 1, liveThousandths: 0, stepBlocks: 1 },
      { logBytes: 2 * SEGMENT_SIZE, liveThousandths: 0, stepBlocks: 4 },
    ]),
  };
}

function operationsOf(random: Random, options: SimulationOptions): Operation[] {
  const kinds = Object.keys(WEIGHTS) as (keyof typeof WEIGHTS)[];
  const weights = kinds.map((kind) => {
    if (ALWAYS.includes(kind)) return WEIGHTS[kind];
    if (!options.compacts && kind === "compactFull") return 0;
    return random.chance(0.25) ? 0 : WEIGHTS[kind] * (random.chance(0.15) ? 5 : 1);
  });
  const count = random.between(40, 160);
  const operations: Operation[] = [];
  for (let index = 0; index < count; index++) {
    operations.push({ index, kind: kinds[random.weighted(weights)] as OperationKind, label: random.word() });
  }
  operations.push({ index: count, kind: "powerCut", label: random.word() });
  return operations;
}

/** Puts operations of readers and backups between the others. */
function withBeside(operations: Operation[], random: Random): Operation[] {
  if (!random.chance(BESIDE_SHARE)) return operations;
  const kinds = Object.keys(BESIDE) as (keyof typeof BESIDE)[];
  const weights = kinds.map((kind) => (random.chance(0.25) ? 0 : BESIDE[kind]));
  if (weights.every((weight) => weight === 0)) return operations;
  const all = [...operations];
  for (let n = random.between(10, 70), index = operations.length; n > 0; n--, index++) {
    const kind = kinds[random.weighted(weights)] as OperationKind;
    all.splice(random.below(all.length), 0, { index, kind, label: random.word() });
  }
  return all;
}

function faultsOf(random: Random): Fault[] {
  const faults: Fault[] = [];
  const silent = random.chance(0.25);
  for (let index = random.between(1, 3) - 1; index >= 0; index--) {
    const kind = random.pick(silent ? FAULT_KINDS : FAULT_KINDS.slice(0, 4));
    const span = kind === "read-error" ? 400 : kind === "sync-error" ? 30 : 60;
    const again = kind === "no-space" ? random.between(2, 20) : Number.POSITIVE_INFINITY;
    const lasts = SILENT.includes(kind) || random.chance(0.6) ? 1 : again;
    faults.push({ index, kind, life: random.below(3), after: random.below(span), lasts });
  }
  return faults.reverse();
}
