/** Kills over and over, from one seed: which, when and what was written until then. How the machine mixes it is not in the seed. */
import { Random } from "../../store/random.ts";
import { Lane, newTally, type Tally } from "./lane.ts";
import { World } from "./world.ts";

/** What a run is asked for. */
export interface KillsOptions {
  seed: number;
  /** Kills, at least. */
  count: number;
  /** Ends earlier, when so many milliseconds are over. */
  budgetMs?: number;
  /** Stores that are written to side by side. */
  laneCount?: number;
  /** Ends after the present rounds. */
  signal?: AbortSignal;
  /** Told now and then. */
  onProgress?: (killCount: number) => void;
}

/** What a run came to. */
export interface KillsReport extends Tally {
  killCount: number;
  violations: string[];
}

/** Rounds of each lane between two ends of the browser. */
const ROUND_COUNT = 11;

/** Runs until so many have been killed, and looks a last time. Ends after the first violations. */
export async function runKills(options: KillsOptions): Promise<KillsReport> {
  const { seed, count, budgetMs = Number.POSITIVE_INFINITY, laneCount = 3, signal, onProgress } = options;
  const end = performance.now() + budgetMs;
  const random = new Random(seed);
  const tally = newTally();
  const world = new World();
  const lanes: Lane[] = [];
  const killCount = (): number => Object.values(tally.kills).reduce((sum, one) => sum + one, 0);
  const violations = (): string[] => lanes.flatMap((lane) => lane.violations);
  const isOver = (): boolean =>
    killCount() >= count || performance.now() > end || signal?.aborted === true || violations().length > 0;
  try {
    await world.start();
    for (let i = 0; i < laneCount; i++) lanes.push(new Lane(world, tally, `${i}`, random.u32()));
    while (!isOver()) {
      await Promise.all(
        lanes.map(async (lane) => {
          for (let i = 0; i < ROUND_COUNT && !isOver(); i++) await lane.round();
        }),
      );
      if (violations().length > 0) break;
      await Promise.all(lanes.map((lane) => lane.write()));
      await world.kill();
      tally.kills.browser++;
      for (const lane of lanes) lane.lost();
      onProgress?.(killCount());
    }
    if (violations().length === 0) await Promise.all(lanes.map((lane) => lane.finish()));
  } catch (error) {
    if (violations().length === 0) lanes[0]?.violations.push(`the run itself failed: ${(error as Error).stack}`);
  } finally {
    await world.end();
  }
  return { ...tally, killCount: killCount(), violations: violations() };
}
