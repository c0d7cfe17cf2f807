/**
 * Runs one test file, unchanged, in a dedicated worker, and reports each test to the page that started it: synchronous
 * access to files exists in such workers alone.
 *
 * The page says which file, and vitest's configuration; it gets the tests as they were found, then each result.
 */
import { Buffer } from "buffer/";
import type { TestRunner } from "vitest";
import { startTests } from "vitest/internal/browser";

/** A suite or a test, as far as the page needs it. */
export interface FoundTask {
  id: string;
  name: string;
  type: "suite" | "test";
  tasks: FoundTask[];
}

/** How a test ended. */
export interface TestEnd {
  state: "pass" | "fail" | "skip";
  note: string | undefined;
  errors: { name: string; message: string; stack: string }[];
}

/** What the worker says to its page. */
export type WorkerReport =
  | { type: "found"; tasks: FoundTask[] }
  | { type: "ended"; id: string; end: TestEnd }
  | { type: "over"; errors: TestEnd["errors"] }
  | { type: "broken"; message: string };

interface Task {
  id: string;
  name: string;
  type: "suite" | "test";
  mode: string;
  tasks?: Task[];
  result?: { state?: string; note?: string; errors?: { name?: string; message?: string; stack?: string }[] };
}

const scope = globalThis as unknown as {
  Buffer: typeof Buffer;
  onmessage: ((event: MessageEvent<{ file: string; config: object }>) => void) | null;
  postMessage(report: WorkerReport): void;
};

// Some tests compare bytes with it, and programs for browsers bring it as well.
scope.Buffer = Buffer;

scope.onmessage = ({ data }) => {
  run(data.file, data.config).catch((error) =>
    scope.postMessage({ type: "broken", message: String(error?.stack ?? error) }),
  );
};

async function run(file: string, config: object): Promise<void> {
  const ended = new Set<string>();
  const report = (task: Task): void => {
    if (task.type !== "test" || ended.has(task.id)) return;
    ended.add(task.id);
    const { result } = task;
    const state = result?.state === "pass" || result?.state === "fail" ? result.state : "skip";
    scope.postMessage({ type: "ended", id: task.id, end: { state, note: result?.note, errors: errorsOf(task) } });
  };
  const runner = {
    config,
    importFile: () => import(/* @vite-ignore */ file),
    onCollected: (files: Task[]) =>
      scope.postMessage({ type: "found", tasks: files.flatMap(({ tasks }) => tasksOf(tasks)) }),
    onAfterRunTask: report,
    onTaskUpdate: () => undefined,
  };
  const files = (await startTests([file], runner as unknown as TestRunner)) as unknown as Task[];
  // Tests that were skipped, or whose suite failed, have not ended by themselves.
  const rest = (task: Task): void => {
    report(task);
    for (const inner of task.tasks ?? []) rest(inner);
  };
  for (const each of files) rest(each);
  scope.postMessage({ type: "over", errors: files.flatMap(suiteErrors) });
}

function tasksOf(tasks: readonly Task[] = []): FoundTask[] {
  return tasks.map(({ id, name, type, tasks: inner }) => ({ id, name, type, tasks: tasksOf(inner) }));
}

/** What failed outside of every test: collecting, and hooks of suites. */
function suiteErrors(task: Task): TestEnd["errors"] {
  if (task.type === "test") return [];
  return errorsOf(task).concat((task.tasks ?? []).flatMap(suiteErrors));
}

function errorsOf({ result }: Task): TestEnd["errors"] {
  return (result?.errors ?? []).map(({ name = "Error", message = "", stack = "" }) => ({ name, message, stack }));
}
