/**
 * Writes that follow from what is there, on hot keys of one store in a file: counters, expiries, conditions.
 *
 * 1. Each round opens an empty store; a rate is operations a CPU second.
 * 2. What the calls come to is compared at the end of each pass, outside of its span.
 */
import { join } from "node:path";
import { open } from "../../hosts/node.ts";
import type { Store } from "../../store/store.ts";
import { span } from "../measure.ts";
import { inFolder, type Run } from "../run.ts";

const KEY_COUNT = 1000;
const CALL_COUNT = 1_000_000;

/** A pass: what it is called, its calls, and a proof that they were done. */
type Pass = [
  name: string,
  calls: (store: Store, keys: string[]) => void,
  isDone: (store: Store, key: string) => boolean,
];

const PASSES: readonly Pass[] = [
  [
    "increment",
    (store, keys) => {
      for (let i = 0; i < CALL_COUNT; i++) store.increment(keys[i % KEY_COUNT] as string);
    },
    (store, key) => store.get(key) === `${CALL_COUNT / KEY_COUNT}`,
  ],
  [
    "set, expiresIn",
    (store, keys) => {
      for (let i = 0; i < CALL_COUNT; i++) store.set(keys[i % KEY_COUNT] as string, "value", { expiresIn: 3_600_000 });
    },
    (store, key) => (store.getEntry(key)?.expiresAt ?? 0) > Date.now(),
  ],
  [
    "get, expiring",
    (store, keys) => {
      for (let i = 0; i < CALL_COUNT; i++) store.get(keys[i % KEY_COUNT] as string);
    },
    (store, key) => store.get(key) === "value",
  ],
  [
    "getEntry and set, ifVersion",
    (store, keys) => {
      for (let i = 0; i < CALL_COUNT; i++) {
        const key = keys[i % KEY_COUNT] as string;
        store.set(key, "other", { ifVersion: store.getEntry(key)?.version ?? null });
      }
    },
    (store, key) => store.get(key) === "other",
  ],
];

/** Runs it. */
export async function runWrites(run: Run): Promise<void> {
  const { ledger, progress, options } = run;
  progress.expect(PASSES.length * options.rounds);
  const keys = Array.from({ length: KEY_COUNT }, (_, i) => `counter:${i}`);
  for (let round = 0; round < options.rounds; round++) {
    await inFolder(run, async (folder) => {
      const store = await open(join(folder, "store.cairn"));
      for (const [name, calls, isDone] of PASSES) {
        progress.step(`cairn: ${name}, ${KEY_COUNT} hot keys, round ${round + 1}`);
        const { cpuNs } = await span(() => calls(store, keys));
        if (!keys.every((key) => isDone(store, key))) throw new Error(`${name} was not done`);
        ledger.add(
          { workload: "writes", name, store: "cairn", unit: "operations/CPU s", records: KEY_COUNT, valueSize: 8 },
          (CALL_COUNT * 1e9) / cpuNs,
        );
        await store.flush();
      }
      await store.close();
    });
  }
}
