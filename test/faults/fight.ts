/**
 * Several processes fight for one store. One after another is killed or stopped for a while, and, where asked for, the lock
 * file is taken away, so that two believe themselves owners: then the older one must be fenced.
 */
import { rmSync } from "node:fs";
import type { RuntimeName } from "../runtime.ts";
import { Random } from "../simulation/random.ts";
import { bundleChild, Child, commandIn } from "./children.ts";
import type { Fought } from "./fighter-child.ts";

/** Who fights for what, and for how long. */
export interface FightPlan {
  root: string;
  runtimes: readonly RuntimeName[];
  path: string;
  /** For how long, and for how long at most while not enough has happened yet. */
  ms: number;
  msMax: number;
  seed: number;
  /** Whether the lock file is taken away now and then. */
  steals: boolean;
}

/** What came of it. */
export interface FightReport {
  /** Times that one of them had the store. */
  owners: number;
  kills: number;
  /** Times that the lock file was taken away. */
  steals: number;
  /** How often each code was met. */
  codes: Record<string, number>;
  /** By number, who was told that it is durable. */
  counted: Map<number, string>;
  /** What must not be: two owners, an error of another kind. */
  wrong: string[];
}

/** What the contract has for one that is not, or no more, the owner. */
const EXPECTED = ["LOCKED", "FENCED", "POISONED"];

/** Lets them fight. Rejects only for what the test itself did wrong. */
export async function fight({ root, runtimes, path, ms, msMax, seed, steals }: FightPlan): Promise<FightReport> {
  const random = new Random(BigInt(seed)).fork(7);
  const report: FightReport = { owners: 0, kills: 0, steals: 0, codes: {}, counted: new Map(), wrong: [] };
  let names = 0;
  const start = async (runtime: RuntimeName): Promise<Child<Fought>> => {
    const { command, args } = commandIn(root, runtime) as { command: string; args: string[] };
    const file = await bundleChild(root, "fighter-child", runtime);
    const child = new Child<Fought>({ command, args: [...args, file, path, `${runtime}${names++}`] });
    child.onSaying((saying) => hear(report, runtime, saying));
    return child;
  };
  const fighters = await Promise.all(runtimes.map(start));
  const begin = performance.now();
  const goesOn = (): boolean => {
    const now = performance.now() - begin;
    return report.wrong.length === 0 && (now < ms || (now < msMax && !isEnough(report, steals)));
  };
  try {
    while (goesOn()) {
      await pause(random.between(5, 60));
      const at = random.below(fighters.length);
      const child = fighters[at] as Child<Fought>;
      // One that has not come so far yet would only be started again.
      if (child.sayings.length === 0) continue;
      const what = random.unit();
      if (steals && what < 0.3) {
        rmSync(`${path}.lock`, { force: true });
        report.steals++;
      } else if (what < 0.55) {
        child.process.kill("SIGSTOP");
        await pause(random.between(1, 30));
        child.process.kill("SIGCONT");
      } else if (what < 0.8) {
        child.kill();
        const { signal, complaint } = await child.ended;
        if (signal !== "SIGKILL") report.wrong.push(`one ended by itself: ${complaint}`);
        report.kills++;
        fighters[at] = await start(runtimes[at] as RuntimeName);
      }
    }
  } finally {
    for (const child of fighters) child.kill();
    await Promise.all(fighters.map(({ ended }) => ended));
  }
  return report;
}

/** Whether all has happened that a fight is about. */
function isEnough({ owners, kills, codes, counted }: FightReport, steals: boolean): boolean {
  const { LOCKED = 0, FENCED = 0 } = codes;
  return owners > 10 && kills > 2 && counted.size > 50 && LOCKED > 3 && (!steals || FENCED > 0);
}

function hear(report: FightReport, runtime: RuntimeName, saying: Fought): void {
  if (saying.type === "owner") report.owners++;
  else if (saying.type === "counted") {
    const other = report.counted.get(saying.number);
    if (other !== undefined) report.wrong.push(`number ${saying.number} is durable of ${other} and of ${saying.tag}`);
    report.counted.set(saying.number, saying.tag);
  } else {
    report.codes[saying.code] = (report.codes[saying.code] ?? 0) + 1;
    if (EXPECTED.includes(saying.code)) return;
    report.wrong.push(`${runtime}: ${saying.call} was refused with ${saying.code}: ${saying.message}`);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
