/** Transactions are serializable: histories of concurrent ones, searched for what no order explains. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import type { Transaction } from "../../store/transaction.ts";
import { TransactionWork } from "../../store/transaction-work.ts";
import { open, pause, runSeed } from "./harness.ts";
import { anomalyIn, type Committed } from "./history.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const KEYS = ["a", "b", "c", "d"];
const CLIENT_COUNT = 8;
const ROUND_COUNT = 30;

const listOf = (value: string | undefined): number[] =>
  value === undefined || value === "" ? [] : value.split(",").map(Number);

/** Runs clients at the same time, and gives what committed. */
async function run(store: Store, random: Random): Promise<Committed[]> {
  const history: Committed[] = [];
  let clock = 0;
  let valueNext = 1;
  let idNext = 1;
  const stepsOf = (): { kind: number; key: string; waits: boolean }[] =>
    Array.from({ length: 1 + random.below(4) }, () => ({
      kind: random.below(10),
      key: KEYS[random.below(KEYS.length)] as string,
      waits: random.below(2) === 0,
    }));
  const step = (tx: Transaction, did: Committed, kind: number, key: string): void => {
    if (kind < 3) {
      if (!did.appends.has(key) && !did.reads.has(key)) did.reads.set(key, listOf(tx.get(key)));
    } else if (kind < 6) {
      if (did.appends.has(key)) return;
      const value = valueNext++;
      const list = listOf(tx.get(key));
      if (!did.reads.has(key)) did.reads.set(key, list);
      tx.set(key, [...list, value].join());
      did.appends.set(key, value);
    } else if (kind < 8) {
      const isBack = kind === 7;
      const seen = [...tx.keys({ prefix: "range", reverse: isBack })].filter((made) => !did.made.includes(made));
      did.ranges.push(new Set(seen));
    } else {
      const made = `range ${valueNext++}`;
      tx.set(made, "");
      did.made.push(made);
    }
  };
  const newRecord = (): Committed => ({
    ...{ id: idNext++, reads: new Map(), appends: new Map(), ranges: [], made: [] },
    ...{ began: clock++, ended: 0 },
  });
  const client = async (): Promise<void> => {
    for (let round = 0; round < ROUND_COUNT; round++) {
      const steps = stepsOf();
      const kind = random.below(8);
      const { began } = newRecord();
      let did = newRecord();
      if (kind === 0) {
        const made = `range ${valueNext++}`;
        store.set(made, "");
        did.made.push(made);
      } else if (kind < 3) {
        store.transaction((tx) => {
          for (const { kind, key } of steps) step(tx, did, kind, key);
        });
      } else {
        await store.transact(
          async (tx) => {
            did = newRecord();
            for (const { kind, key, waits } of steps) {
              step(tx, did, kind, key);
              if (waits) await pause();
            }
          },
          { retries: 1000 },
        );
      }
      history.push({ ...did, began, ended: clock++ });
      if (random.below(4) === 0) await pause();
    }
  };
  await Promise.all(Array.from({ length: CLIENT_COUNT }, client));
  return history;
}

async function anomalyOf(random: Random): Promise<string | undefined> {
  const store = await open(":memory:");
  const history = await run(store, random);
  const last = new Map(KEYS.map((key) => [key, listOf(store.get(key))]));
  await store.close();
  expect(history.length).toBe(CLIENT_COUNT * ROUND_COUNT);
  return anomalyIn(history, last);
}

describe(`histories, CAIRN_SEED=${seed}`, () => {
  test("have an order that explains them", async () => {
    for (let round = 0; round < 4; round++) expect(await anomalyOf(new Random(seed + round))).toBeUndefined();
  });

  test("have none when reads are not validated, and the search says so", async () => {
    const { isValid } = TransactionWork.prototype;
    TransactionWork.prototype.isValid = () => true;
    try {
      expect(await anomalyOf(new Random(seed))).toBeDefined();
    } finally {
      TransactionWork.prototype.isValid = isValid;
    }
  });

  test("are told apart by the search: write skew, phantom, a lost update", () => {
    const committed = (id: number, parts: Partial<Committed>): Committed => ({
      ...{ id, reads: new Map(), appends: new Map(), ranges: [], made: [], began: 0, ended: 9 },
      ...parts,
    });
    const skew = [
      committed(1, { reads: new Map([["a", []]]), appends: new Map([["b", 1]]) }),
      committed(2, { reads: new Map([["b", []]]), appends: new Map([["a", 2]]) }),
    ];
    expect(
      anomalyIn(
        skew,
        new Map([
          ["a", [2]],
          ["b", [1]],
        ]),
      ),
    ).toContain("rw");
    const phantom = [
      committed(1, { ranges: [new Set()], made: ["x"] }),
      committed(2, { ranges: [new Set()], made: ["y"] }),
    ];
    expect(anomalyIn(phantom, new Map())).toContain("rw range");
    expect(anomalyIn([committed(1, { reads: new Map([["a", [1]]]) })], new Map([["a", [2]]]))).toContain("read a as 1");
    const serial = [
      committed(1, { ended: 1 }),
      committed(2, { ranges: [new Set(["x"])], began: 5 }),
      committed(3, { made: ["x"] }),
    ];
    expect(anomalyIn(serial, new Map())).toBeUndefined();
  });
});
