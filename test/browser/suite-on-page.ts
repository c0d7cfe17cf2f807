/** The page's side of a test file that runs in a worker: the same suites and tests, each of which takes its result from there. */
import { afterAll, describe, test } from "vitest";
import type { FoundTask, TestEnd, WorkerReport } from "./suite-in-worker.ts";

/** Starts the worker for a file and defines its tests here. */
export async function runInWorker(file: string): Promise<void> {
  const { config } = (globalThis as unknown as { __vitest_worker__: { config: object } }).__vitest_worker__;
  const worker = new Worker(new URL("./suite-in-worker.ts", import.meta.url), { type: "module" });
  const ends = new Map<string, TestEnd>();
  const waiting = new Map<string, (end: TestEnd) => void>();
  let breakAll: (error: Error) => void = () => undefined;
  const broken = new Promise<never>((_, reject) => {
    breakAll = reject;
  });
  broken.catch(() => undefined);
  let over: (errors: TestEnd["errors"]) => void = () => undefined;
  const finished = new Promise<TestEnd["errors"]>((resolve) => {
    over = resolve;
  });
  const found = new Promise<FoundTask[]>((resolve) => {
    worker.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.type === "found") resolve(data.tasks);
      else if (data.type === "broken") breakAll(new Error(data.message));
      else if (data.type === "over") over(data.errors);
      else {
        ends.set(data.id, data.end);
        waiting.get(data.id)?.(data.end);
      }
    };
  });
  worker.onerror = (event) => breakAll(new Error(`the worker of ${file} broke: ${event.message}`));
  worker.postMessage({ file, config: JSON.parse(JSON.stringify(config)) });

  const endOf = (id: string): Promise<TestEnd> => {
    const end = ends.get(id);
    return end !== undefined ? Promise.resolve(end) : new Promise((resolve) => waiting.set(id, resolve));
  };
  const define = (tasks: readonly FoundTask[]): void => {
    for (const { id, name, type, tasks: inner } of tasks) {
      if (type === "suite") {
        describe(name, () => define(inner));
        continue;
      }
      test(name, async ({ skip }) => {
        const { state, note, errors } = await Promise.race([endOf(id), broken]);
        if (state === "skip") skip(note);
        if (state === "fail") throw asError(errors);
      });
    }
  };
  define(await Promise.race([found, broken]));
  afterAll(async () => {
    const errors = await Promise.race([finished, broken]);
    worker.terminate();
    if (errors.length > 0) throw asError(errors);
  });
}

function asError(errors: TestEnd["errors"]): Error {
  const [first] = errors;
  const error = new Error(
    first === undefined ? "the test failed and did not say why" : `${first.name}: ${first.message}`,
  );
  if (first !== undefined && first.stack !== "") error.stack = first.stack;
  return error;
}
