/** What every workload is given. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Ledger } from "./figures.ts";
import type { Options } from "./options.ts";
import type { Progress } from "./progress.ts";
import type { StoreKind } from "./stores/store.ts";

/** A run under way. */
export interface Run {
  options: Options;
  kinds: StoreKind[];
  ledger: Ledger;
  progress: Progress;
  /** What a reader must know beside the figures. */
  notes: string[];
}

/** The kinds in another order each round, so that none always follows the same one. */
export function inTurn<Item>(items: readonly Item[], round: number): Item[] {
  const first = round % Math.max(items.length, 1);
  return [...items.slice(first), ...items.slice(0, first)];
}

let folderCount = 0;

/** Gives `work` an empty folder on the file system that is measured, and removes it afterwards. */
export async function inFolder<Result>(run: Run, work: (folder: string) => Promise<Result>): Promise<Result> {
  folderCount += 1;
  const folder = join(run.options.folder, `${process.pid}-${folderCount}`);
  mkdirSync(folder, { recursive: true });
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
