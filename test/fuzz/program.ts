/**
 * Fuzzed images as a program; `scripts/fuzz.mjs` bundles and starts it. Prints a line of JSON for each finding, and one over all.
 *
 *   program BINARY [--seed N] [--images N] [--minutes N] [--first N] [--stride N] [--lanes N] [--flips] [--kinds plain,killed]
 *                  [--image N] [--folder PATH] [--hang-ms N] [--until-finding] [--planted N]
 *
 * `--stride N` takes every Nth image. Every lane is a thread. One that stays with an image for too long is ended, and that is a finding.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isMainThread, Worker } from "node:worker_threads";
import { COUNTER, COUNTERS, type LaneMessage, type LaneWork, laneRun } from "./lane.ts";
import type { Mode } from "./plan.ts";

const POLL_MS = 200;
/** Memory of a lane's own objects, and of the whole process. */
const HEAP_MIB_MAX = 768;
const RSS_BYTES_MAX = 3 * 1_073_741_824;

/** How a run went. */
interface Total {
  images: number;
  findings: number;
  forged: number;
  opened: number;
  refused: number;
  unreadable: number;
  repaired: number;
  slowestMs: number;
  seconds: number;
  perMinute: number;
  seed: string;
  mode: Mode;
  /** The first number that was not reached. */
  next: number;
}

if (isMainThread) process.exitCode = await main();
else await laneRun();

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: "string", default: "1" },
      images: { type: "string", default: "Infinity" },
      minutes: { type: "string", default: "Infinity" },
      first: { type: "string", default: "0" },
      stride: { type: "string", default: "1" },
      lanes: { type: "string", default: String(availableParallelism()) },
      flips: { type: "boolean", default: false },
      kinds: { type: "string" },
      image: { type: "string" },
      folder: { type: "string" },
      "hang-ms": { type: "string", default: "20000" },
      "until-finding": { type: "boolean", default: false },
      planted: { type: "string" },
    },
  });
  const isOne = values.image !== undefined;
  const first = Number(values.image ?? values.first);
  const stride = Number(values.stride);
  const end = isOne ? first + 1 : first + Number(values.images) * stride;
  const lanes = isOne ? 1 : Number(values.lanes);
  const mode: Mode = values.flips ? "flips" : "mixed";
  const module = new WebAssembly.Module(readFileSync(positionals[0] as string));
  const deadline = { ms: performance.now() + Number(values.minutes) * 60_000 };
  // Who ends the run gets the counts so far.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      deadline.ms = 0;
    });
  }
  const start = performance.now();
  const runs = Array.from({ length: lanes }, (_, lane) =>
    runLane(
      {
        module,
        mode,
        seed: values.seed,
        kinds: values.kinds?.split(","),
        first: first + lane * stride,
        stride: lanes * stride,
        end,
        folder: values.folder,
        untilFinding: values["until-finding"],
        planted: values.planted === undefined ? undefined : Number(values.planted),
        counters: new SharedArrayBuffer(COUNTERS * 4),
      },
      deadline,
      Number(values["hang-ms"]),
    ),
  );
  const results = await Promise.all(runs);
  const sum = (what: keyof typeof COUNTER): number =>
    results.reduce((all, one) => all + (one.counters[COUNTER[what]] as number), 0);
  const seconds = (performance.now() - start) / 1000;
  const findings = results.reduce((all, one) => all + one.findings, 0);
  const total: Total = {
    images: sum("done"),
    findings,
    forged: sum("forged"),
    opened: sum("opened"),
    refused: sum("refused"),
    unreadable: sum("unreadable"),
    repaired: sum("repaired"),
    slowestMs: Math.max(...results.map(({ counters }) => counters[COUNTER.slowestMs] as number)),
    seconds: Math.round(seconds * 10) / 10,
    perMinute: Math.round((sum("done") / seconds) * 60),
    seed: values.seed,
    mode,
    next: Math.min(...results.map(({ next }) => next)),
  };
  console.log(JSON.stringify({ total }));
  return findings > 0 ? 1 : 0;
}

/** When the run ends, by `performance.now()`. */
interface Deadline {
  ms: number;
}

interface LaneResult {
  counters: Int32Array;
  findings: number;
  /** The lane's first image that was not reached. */
  next: number;
}

/** Runs a lane to its end, or to the deadline: a thread, and another one for each that had to be ended. */
async function runLane(work: LaneWork, deadline: Deadline, hangMs: number): Promise<LaneResult> {
  const counters = new Int32Array(work.counters);
  let findings = 0;
  const tell = (finding: Omit<Extract<LaneMessage, { type: "finding" }>, "type">): void => {
    findings++;
    const flips = work.mode === "flips" ? " --flips" : "";
    const kinds = work.kinds === undefined ? "" : ` --kinds "${work.kinds}"`;
    const again = `npm run test:fuzz -- --seed ${work.seed}${flips}${kinds} --image ${finding.number}`;
    console.log(JSON.stringify({ ...finding, again }));
  };
  const numberNow = (): number => work.first + Atomics.load(counters, COUNTER.done) * work.stride;
  let over = false;
  while (!over) {
    const first = numberNow();
    if (first >= work.end) break;
    const ended = await runThread({ ...work, first }, counters, deadline, hangMs, tell);
    over = ended === undefined || (work.untilFinding && findings > 0);
    if (ended === undefined) continue;
    tell({ number: numberNow(), message: ended, kind: "", notes: [], file: undefined });
    Atomics.add(counters, COUNTER.done, 1);
    over ||= work.untilFinding;
  }
  return { counters, findings, next: numberNow() };
}

/** Runs a thread: why it had to be ended, if it had. */
function runThread(
  work: LaneWork,
  counters: Int32Array,
  deadline: Deadline,
  hangMs: number,
  tell: (finding: Omit<Extract<LaneMessage, { type: "finding" }>, "type">) => void,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const worker = new Worker(fileURLToPath(import.meta.url), {
      workerData: work,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    });
    let done = Atomics.load(counters, COUNTER.done);
    let since = performance.now();
    const finish = (why: string | undefined): void => {
      clearInterval(poll);
      worker.terminate();
      resolve(why);
    };
    const poll = setInterval(() => {
      const now = performance.now();
      const doneNow = Atomics.load(counters, COUNTER.done);
      if (doneNow !== done) [done, since] = [doneNow, now];
      if (now > deadline.ms) finish(undefined);
      else if (now - since > hangMs) finish(`hang: no end within ${hangMs} ms`);
      else if (process.memoryUsage.rss() > RSS_BYTES_MAX)
        finish(`memory: the process takes over ${RSS_BYTES_MAX} bytes`);
    }, POLL_MS);
    worker.on("message", (message: LaneMessage) => {
      if (message.type === "finding") tell(message);
      else finish(undefined);
    });
    worker.on("error", (error) => finish(`the thread failed: ${error.stack}`));
  });
}
