/**
 * Values of JSON, stored as they are and compressed: writing and reading single records, and what lies in the log then.
 *
 * 1. Each round opens an empty store in a file for each size and setting, one after the other, and gives each the same passes.
 * 2. A rate is operations a CPU second. All of what is read fits the cache.
 * 3. What a pass brings back is compared inside the pass, by its size; whole at its end, outside of the span.
 */
import { join } from "node:path";
import { open } from "../../hosts/node.ts";
import type { FigureId } from "../figures.ts";
import { span } from "../measure.ts";
import { inFolder, type Run } from "../run.ts";

const SIZES = [1024, 4096];
const KINDS = ["none", "lz4"] as const;
const KEY_COUNT = 10_000;
const PASS_COUNT = 50_000;
/** So many different values. */
const VALUE_COUNT = 64;

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
  progress.expect(SIZES.length * KINDS.length * options.rounds);
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
  }
}
