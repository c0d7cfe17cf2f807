/** The benchmark's worker: a store opened where it is fastest, in the worker itself. */
import { open } from "../../hosts/browser.ts";
import { reasonOf } from "../page/reason.ts";
import { BENCHMARK_STORE, type BenchmarkNews, type BenchmarkOrder, keyOf, scattered } from "./benchmark.ts";

/** A point of the plot covers so much time at least, since browsers round their clocks. */
const POINT_MS = 5;
const POINT_COUNT_MAX = 60;
const GET_COUNT_MIN = 200_000;
const PUT_COUNT = 200;
const PUT_GROUP_COUNT = 64;

const tell = (news: BenchmarkNews): void => postMessage(news);

addEventListener("message", (event: MessageEvent<BenchmarkOrder>) => {
  run(event.data).then(
    () => tell({ type: "done" }),
    (error) => tell({ type: "failed", reason: reasonOf(error) }),
  );
});

async function run({ count, valueSize }: BenchmarkOrder): Promise<void> {
  const store = await open(BENCHMARK_STORE);
  try {
    const value = "v".repeat(valueSize);
    await measure("set", count, async (piece) => {
      for (const index of piece) store.set(keyOf(index), value);
      // The interval's group commits need the event loop.
      await turn();
    });
    const start = performance.now();
    await store.flush();
    tell({ type: "figure", figure: { work: "flush", where: "worker", count: 1, ms: performance.now() - start } });

    const getCount = Math.max(count, GET_COUNT_MIN);
    const indices = scattered(getCount, count);
    await measure("get", getCount, (piece) => {
      for (const _ of piece) {
        const index = indices.next().value as number;
        if (store.get(keyOf(index)) === undefined) throw new Error(`The record ${keyOf(index)} is missing.`);
      }
    });

    const entries = store.entries();
    await measure("entries", count, (piece) => {
      for (const _ of piece) {
        if (entries.next().done) throw new Error("The walk ended before the last record.");
      }
    });

    await measure("put, one by one", PUT_COUNT, async (piece) => {
      for (const index of piece) await store.put(keyOf(index), value);
    });
    const groups = PUT_COUNT * PUT_GROUP_COUNT;
    await measure("put, 64 at once", groups, async (piece) => {
      const waiting = [];
      for (const index of piece) {
        waiting.push(store.put(keyOf(index % count), value));
        if (waiting.length === PUT_GROUP_COUNT) await Promise.all(waiting.splice(0));
      }
      await Promise.all(waiting);
    });
  } finally {
    await store.close();
  }
}

/** Does `count` operations in pieces, and tells how fast they went, piece by piece and together. */
async function measure(
  work: string,
  count: number,
  operate: (piece: Iterable<number>) => void | Promise<void>,
): Promise<void> {
  const size = Math.max(PUT_GROUP_COUNT, Math.ceil(count / POINT_COUNT_MAX));
  const start = performance.now();
  let last = start;
  let counted = 0;
  let pointCount = 0;
  for (let first = 0; first < count; first += size) {
    const end = Math.min(first + size, count);
    const operating = operate(numbers(first, end));
    if (operating) await operating;
    const now = performance.now();
    // A short rest at the end says little, unless it is all there is.
    if (now - last < POINT_MS && (end < count || pointCount > 0)) continue;
    if (now > last) {
      pointCount++;
      tell({ type: "point", work, point: { share: end / count, rate: ((end - counted) * 1000) / (now - last) } });
    }
    last = now;
    counted = end;
  }
  tell({ type: "figure", figure: { work, where: "worker", count, ms: performance.now() - start } });
}

function* numbers(first: number, end: number): Generator<number> {
  for (let number = first; number < end; number++) yield number;
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve);
  });
