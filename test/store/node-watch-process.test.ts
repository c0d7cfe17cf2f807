/** A process that waits for a change of its own stays until it is shown; one that waits for nothing ends. */
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { commandOf, RUNTIME, type RuntimeName, runProgram } from "../runtime.ts";
import { scratchPaths } from "./harness.ts";

const newPath = scratchPaths();

// From Node all that are installed are started, so that one run shows it of each.
const runtimes: RuntimeName[] = RUNTIME === "node" ? ["node", "bun", "deno"] : [RUNTIME];

describe.each(runtimes.filter((name) => commandOf(name) !== undefined))("on %s", (runtime) => {
  test.for([
    ["written before it waits", "store.set('a', '1'); const { value } = await watch.next();"],
    ["written while it waits", "const next = watch.next(); store.set('a', '1'); const { value } = await next;"],
    [
      "written before it resumes",
      "store.set('a', '1'); const { value } = await store.watch(undefined, { since: 0 }).next();",
    ],
    [
      "written while a group is on its way",
      "store.put('b', '1'); await watch.next(); store.set('a', '1'); const { value } = await watch.next();",
    ],
  ] as const)("a watcher keeps the process for a change that was %s", ([, body]) => {
    const program = `const store = await open(target, { memoryBytes, flushIntervalMs: 300 });
      const watch = store.watch();
      ${body}
      say(value.key);
      await store.close();`;
    const { status, said, failed } = runProgram(program, newPath(), runtime);
    expect(said, failed).toEqual(["a"]);
    expect(status, failed).toBe(0);
  });

  test("a watcher that nothing is written for does not keep the process, and what was written is there", () => {
    const path = newPath();
    const program = `const store = await open(target, { memoryBytes, flushIntervalMs: 300 });
      void (async () => { for await (const { key } of store.watch(["b"])) say(key); })();
      store.set("a", "1");`;
    const first = runProgram(program, path, runtime);
    expect([first.status, first.said], first.failed).toEqual([0, []]);
    expect(existsSync(path)).toBe(true);
    const second = `const store = await open(target, { memoryBytes }); say(store.get("a")); await store.close();`;
    expect(runProgram(second, path, runtime).said).toEqual(["1"]);
  });
});
