/** The oracle of the kills sees what it is there to see: each kind of loss, shown to it, is one. */
import { describe, expect, test } from "vitest";
import { Oracle } from "./oracle.ts";
import type { Saying } from "./protocol.ts";
import { apply, type Step, tagOf, textOf, Workload } from "./workload.ts";

type Opened = Extract<Saying, { type: "open" }>;

const SEED = 11;
const DURABLE = 40;

const opened = (state: ReadonlyMap<string, string>, more: Partial<Opened> = {}): Opened => ({
  type: "open",
  store: 0,
  version: 100,
  entries: [...state],
  faults: [],
  ...more,
});

/** The state after some commits of the first life, and the steps that led there. */
function stateAt(count: number): { state: Map<string, string>; steps: Step[] } {
  const state = new Map<string, string>();
  const workload = new Workload(SEED, 1);
  const steps = Array.from({ length: count }, () => workload.nextCommit());
  for (const step of steps) apply(state, step);
  return { state, steps };
}

/** An oracle that has heard a life say that `DURABLE` commits are durable. */
function heard(): Oracle {
  const oracle = new Oracle(SEED);
  expect(oracle.judge(1, opened(new Map()))).toBeUndefined();
  oracle.acknowledged({ commit: DURABLE, version: 90 });
  return oracle;
}

describe("the oracle of the kills", () => {
  test("takes every state from the last durable commit on", () => {
    for (const count of [DURABLE, DURABLE + 1, DURABLE + 300]) {
      expect(heard().judge(2, opened(stateAt(count).state))).toBeUndefined();
    }
  });

  test("sees a durable commit that is gone", () => {
    expect(heard().judge(2, opened(stateAt(DURABLE - 1).state))).toContain("LOST");
    expect(heard().judge(2, opened(new Map()))).toContain("LOST");
  });

  test("sees a batch of which a part is missing, and a key from nowhere", () => {
    const { steps } = stateAt(DURABLE + 100);
    const at = steps.findIndex(({ kind, writes }, i) => i > DURABLE && kind === "batch" && writes.length > 6);
    const { state } = stateAt(at);
    const { writes } = steps[at] as Step;
    apply(state, { ...(steps[at] as Step), writes: writes.slice(0, writes.length / 2) });
    expect(heard().judge(2, opened(state))).toContain("no state of life 1");
    const other = stateAt(DURABLE).state.set("a/999", "1.1.1");
    expect(heard().judge(2, opened(other))).toContain("a/999 holds 1.1.1");
  });

  test("sees a later commit without an earlier one", () => {
    const { state, steps } = stateAt(DURABLE);
    const workload = new Workload(SEED, 1);
    for (let i = 0; i < DURABLE; i++) workload.nextCommit();
    let skipped = workload.nextCommit();
    while (skipped.kind !== "set") {
      apply(state, skipped);
      skipped = workload.nextCommit();
    }
    expect(steps).toHaveLength(DURABLE);
    for (let i = 0; i < 3; i++) apply(state, workload.nextCommit());
    expect(heard().judge(2, opened(state))).toContain("no state of life 1");
  });

  test("sees versions that come twice, and faults that a life has found itself", () => {
    const { state } = stateAt(DURABLE);
    expect(heard().judge(2, opened(state, { version: 89 }))).toContain("version 89");
    expect(heard().judge(2, opened(state, { faults: ["rot"] }))).toBe("rot");
  });

  test("goes on from what was found: what a life did not keep does not come back", () => {
    const oracle = heard();
    expect(oracle.judge(2, opened(stateAt(DURABLE + 1).state))).toBeUndefined();
    expect(oracle.judge(3, opened(stateAt(DURABLE + 30).state))).toContain("no state of life 2");
  });
});

test("a value is taken for what was written only when every byte of it is", () => {
  const text = textOf("3.17.500");
  expect(tagOf("key", text)).toBe("3.17.500");
  expect(tagOf("key", `${text.slice(0, 300)}.${text.slice(301)}`)).toBeUndefined();
  expect(tagOf("key", text.slice(0, -1))).toBeUndefined();
  expect(tagOf("key", "no tag")).toBeUndefined();
});
