/** Plans as somebody asks for them: seeds that have what is looked for, options in place of those that a seed gives. */

import type { Plan, SimulationOptions } from "./workload.ts";
import { planOf } from "./workload.ts";

/** What is asked for. Absent: what the seed gives. */
export interface Asked {
  /** Words that the plan must have, all of them: kinds of operations or faults, options that are on, a durability. */
  with?: readonly string[];
  /** Options by name; those of `device` are put in place one by one. */
  options?: Partial<Omit<SimulationOptions, "device">> & { device?: Partial<SimulationOptions["device"]> };
}

/** The plan of a seed, with the options that were asked for; `undefined` when the seed has not what is looked for. */
export function askedPlan(seed: bigint, { with: words = [], options = {} }: Asked): Plan | undefined {
  const plan = planOf(seed);
  const device = { ...plan.options.device, ...options.device };
  const asked = { ...plan, options: { ...plan.options, ...options, device } };
  return words.every((word) => has(asked, word)) ? asked : undefined;
}

function has({ operations, faults, options }: Plan, word: string): boolean {
  const switches: Record<string, unknown> = { ...options, ...options.device };
  return (
    switches[word] === true ||
    options.durability === word ||
    faults.some(({ kind }) => kind === word) ||
    operations.some(({ kind }) => kind === word)
  );
}
