/** Records to try the page with. */
import type { Connection } from "./session.ts";

const BATCH_COUNT = 5_000;
const NAMES = ["Ada", "Grace", "Barbara", "Edsger", "Donald", "Frances", "Alan", "Radia", "Tony", "Margaret"];
const encoder = new TextEncoder();

/**
 * Writes `user:0000000` and so on, each with a small JSON value, in batches: the milliseconds that it took until all were
 * durable. `progress` is told how many are.
 */
export async function addSamples(
  connection: Connection,
  count: number,
  progress: (done: number) => void,
): Promise<number> {
  const start = performance.now();
  let written: Promise<unknown> = Promise.resolve();
  for (let first = 0; first < count; first += BATCH_COUNT) {
    const operations = Array.from({ length: Math.min(BATCH_COUNT, count - first) }, (_, offset) =>
      sample(first + offset),
    );
    // One batch is made while the one before is written.
    await written;
    progress(first);
    written = connection.batch(operations);
  }
  await written;
  return performance.now() - start;
}

function sample(number: number): { type: "set"; key: Uint8Array; value: Uint8Array } {
  const value = { name: NAMES[number % NAMES.length], age: 20 + (number % 60), visits: number };
  return {
    type: "set",
    key: encoder.encode(`user:${String(number).padStart(7, "0")}`),
    value: encoder.encode(JSON.stringify(value)),
  };
}
