/**
 * A lane of a run: a thread that checks one image after another, and can be ended in the midst of one. It tells how far it is
 * through memory that it shares with who started it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { BLOCK_SIZE } from "../../store/layout.ts";
import { type Image, pageOf } from "../simulation/pages.ts";
import { Checker } from "./check.ts";
import { clockInstall, realMs } from "./clock.ts";
import { Finding } from "./finding.ts";
import { Memories } from "./host.ts";
import { type Mode, Plan } from "./plan.ts";

/** What a lane is to do: every `stride`th image from `first` on, up to `end`, which is not one of them. */
export interface LaneWork {
  module: WebAssembly.Module;
  mode: Mode;
  seed: string;
  kinds: string[] | undefined;
  first: number;
  stride: number;
  end: number;
  /** Where images are left that a finding is of; none are when it is absent. */
  folder: string | undefined;
  untilFinding: boolean;
  planted: number | undefined;
  counters: SharedArrayBuffer;
}

/** Places of a lane's counters. */
export const COUNTER = { done: 0, opened: 1, refused: 2, unreadable: 3, repaired: 4, forged: 5, slowestMs: 6 } as const;
export const COUNTERS = 8;

/** What a lane says. */
export type LaneMessage =
  | { type: "finding"; number: number; message: string; kind: string; notes: string[]; file: string | undefined }
  | { type: "end"; count: number };

/** Runs in the lane's thread. */
export async function laneRun(): Promise<void> {
  const work = workerData as LaneWork;
  const say = (message: LaneMessage): void => parentPort?.postMessage(message);
  if (work.planted !== undefined) (globalThis as { planted?: number }).planted = work.planted;
  clockInstall();
  const counters = new Int32Array(work.counters);
  const tally = (what: keyof typeof COUNTER): number => Atomics.add(counters, COUNTER[what], 1);
  const plan = await Plan.create(work.module, work.mode, BigInt(work.seed), work.kinds);
  const memories = new Memories();
  const checker = new Checker(work.module, memories);
  const end = Math.min(work.end, plan.count);
  for (let number = work.first; number < end; number += work.stride) {
    const { canvas, vouchers, steps, random } = plan.image(number);
    const start = realMs();
    try {
      const outcome = await checker.check(canvas, vouchers, steps, random);
      for (const what of ["opened", "refused", "unreadable", "repaired"] as const) if (outcome[what]) tally(what);
    } catch (error) {
      memories.forget();
      const file = work.folder === undefined ? undefined : save(work.folder, work, number, canvas.image());
      const message = error instanceof Finding ? error.message : `the check itself failed: ${(error as Error).stack}`;
      const { notes, subject } = canvas;
      say({ type: "finding", number, message, kind: subject.reference.name, notes, file });
      if (work.untilFinding) break;
    }
    if (canvas.isSealed) tally("forged");
    const ms = Math.ceil(realMs() - start);
    if (ms > Atomics.load(counters, COUNTER.slowestMs)) Atomics.store(counters, COUNTER.slowestMs, ms);
    tally("done");
  }
  say({ type: "end", count: plan.count });
}

/** Leaves an image in a file. */
function save(folder: string, { seed, mode }: LaneWork, number: number, { pages, size }: Image): string {
  mkdirSync(folder, { recursive: true });
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += BLOCK_SIZE) bytes.set(pageOf(pages, at / BLOCK_SIZE), at);
  const file = join(folder, `${mode}-${seed}-${number}.cairn`);
  writeFileSync(file, bytes);
  return file;
}
