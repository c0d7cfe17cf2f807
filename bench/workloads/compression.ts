/**
 * Values of JSON, stored as they are and compressed: writing and reading single records, and what lies in the log then. And
 * checkpoints of many keys, as they are and packed: what they take, and what opening from them does.
 *
 * 1. Each round opens an empty store in a file for each size and setting, one after the other, and gives each the same passes.
 * 2. A rate is operations a CPU second. All of what is read fits the cache.
 * 3. What a pass brings back is compared inside the pass, by its size; whole at its end, outside of the span.
 * 4. Checkpoints are of keys of 13 and 16 bytes: numbered ones, and random ones. The file is in the page cache.
 */
import { join } from "node:path";
import { open } from "../../hosts/node.ts";
import type { FigureId } from "../figures.ts";
import { collectGarbage, span } from "../measure.ts";
import { Random } from "../random.ts";
import { inFolder, type Run } from "../run.ts";

const SIZES = [1024, 4096];
const KINDS = ["none", "lz4"] as const;
const KEY_COUNT = 10_000;
const PASS_COUNT = 50_000;
/** So many different values. */
const VALUE_COUNT = 64;
const CHECKPOINT_KEYS_MAX = 1_000_000;

/** Records as programs store them, one behind the other. */
function json(size: number, number: number): string {
  let text = "";
  for (let i = number * 1000; text.length < size; i++) {
    const name = `user${(i * 7919) % 100_003}`;
    text += `{"id":${i},"name":"${name}","mail":"${name}@example.org","active":${i % 3 === 0},"score":${(i * 0.37).toFixed(2)}},`;
  }
  return text.slice(0, size);
}

/** Runs it. */
export async function runCompression(run: Run): Promise<void> {
  const { ledger, progress, options } = run;
  progress.expect((SIZES.length + 2) * KINDS.length * options.rounds);
  const keys = Array.from({ length: KEY_COUNT }, (_, i) => `user:${String((i * 7919) % 100_003).padStart(8, "0")}`);
  for (let round = 0; round < options.rounds; round++) {
    for (const size of SIZES) {
      const values = Array.from({ length: VALUE_COUNT }, (_, i) => json(size, i));
      const jsonOf = (i: number): string => values[i % VALUE_COUNT] as string;
      for (const compression of KINDS) {
        progress.step(`cairn, compression ${compression}: values of ${size} bytes, round ${round + 1}`);
        const id = (name: string, unit: FigureId["unit"]): FigureId => ({
          workload: "compression",
          name,
          store: compression === "lz4" ? "cairn, lz4" : "cairn",
          unit,
          records: KEY_COUNT,
          valueSize: size,
        });
        await inFolder(run, async (folder) => {
          const store = await open(join(folder, "store.cairn"), { compression });
          const set = await span(() => {
            for (let i = 0; i < PASS_COUNT; i++) store.set(keys[i % KEY_COUNT] as string, jsonOf(i % KEY_COUNT));
          });
          await store.flush();
          const read = (): void => {
            for (let i = 0; i < PASS_COUNT; i++) {
              if (store.get(keys[i % KEY_COUNT] as string)?.length !== size) throw new Error("a value is not there");
            }
          };
          // Into the cache.
          read();
          const get = await span(read);
          if (!keys.every((key, i) => store.get(key) === jsonOf(i))) throw new Error("a value is another one");
          const { liveBytes } = store.stats();
          ledger.add(id("set", "operations/CPU s"), (PASS_COUNT * 1e9) / set.cpuNs);
          ledger.add(id("get", "operations/CPU s"), (PASS_COUNT * 1e9) / get.cpuNs);
          ledger.add(id("bytes in the log for a record", "bytes"), liveBytes / KEY_COUNT);
          await store.close();
        });
      }
    }
    await runCheckpoints(run, round);
  }
}

/** Checkpoints of as many keys as the largest count up to a million. */
async function runCheckpoints({ ledger, progress, options, ...run }: Run, round: number): Promise<void> {
  const records = Math.max(...options.records.filter((count) => count <= CHECKPOINT_KEYS_MAX), KEY_COUNT);
  const random = new Random(round + 1);
  const word = (): string => random.below(0x1_0000_0000).toString(16).padStart(8, "0");
  const kinds = {
    "numbered keys": (i: number): string => `user:${String(i).padStart(8, "0")}`,
    "random keys": (): string => word() + word(),
  };
  for (const [kind, keyOf] of Object.entries(kinds)) {
    const keys = new Set(Array.from({ length: records }, (_, i) => keyOf(i)));
    for (const compression of KINDS) {
      progress.step(`cairn, compression ${compression}: a checkpoint of ${kind}, round ${round + 1}`);
      const id = (name: string, unit: FigureId["unit"]): FigureId => ({
        workload: "compression",
        name: `${name}, ${kind}`,
        store: compression === "lz4" ? "cairn, lz4" : "cairn",
        unit,
        records,
        valueSize: 8,
      });
      await inFolder({ ledger, progress, options, ...run }, async (folder) => {
        const path = join(folder, "store.cairn");
        const store = await open(path, { compression });
        for (const key of keys) store.set(key, "12345678");
        await store.flush();
        const closing = await span(() => store.close());
        ledger.add(id("close, CPU", "ms"), closing.cpuNs / 1e6);
        await collectGarbage();
        let opened: typeof store | undefined;
        const opening = await span(async () => {
          opened = await open(path, { readOnly: true });
        });
        const { keyCount, checkpointBytes, checkpointKeyCount } = (opened as typeof store).stats();
        if (keyCount !== keys.size || checkpointKeyCount !== keys.size) throw new Error("keys are missing");
        await opened?.close();
        ledger.add(id("opening, CPU", "ms"), opening.cpuNs / 1e6);
        ledger.add(id("checkpoint, each key", "bytes"), checkpointBytes / keys.size);
      });
    }
  }
}
