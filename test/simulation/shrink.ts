/** Makes a failing run smaller: first without operations, then without faults, as long as it goes on failing. */
import type { InstancePool } from "./host.ts";
import { run } from "./run.ts";
import type { Plan } from "./workload.ts";

const RUNS_MAX = 150;

/** The smallest plan found that fails as well, looked at after every change of the device. At most 150 runs. */
export async function shrink(plan: Plan, pool: InstancePool, dense: boolean): Promise<Plan> {
  let runs = 0;
  const fails = async (candidate: Plan): Promise<boolean> =>
    runs++ < RUNS_MAX && (await run(candidate, pool, { dense })).failure !== undefined;
  const operations = await fewest(plan.operations, (list) => fails({ ...plan, operations: list }));
  const smaller = { ...plan, operations };
  const faults = await fewest(plan.faults, (list) => fails({ ...smaller, faults: list }));
  return { ...smaller, faults };
}

/** Leaves out halves, quarters and so on of a list, while what is left still fails. */
async function fewest<T>(list: readonly T[], fails: (list: readonly T[]) => Promise<boolean>): Promise<readonly T[]> {
  let kept = list;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length; ) {
      const without = [...kept.slice(0, from), ...kept.slice(from + size)];
      if (await fails(without)) kept = without;
      else from += size;
    }
  }
  return kept;
}
