/** Text in a memory of the size that stores have by default: other tests take little, in which sizes of 31 bits do not show. */
import { describe, expect, test } from "vitest";
import { commandOf, RUNTIME, type RuntimeName, runProgram } from "../runtime.ts";

/** In processes of their own: it counts what the runtime has compiled, and for what. */
const runtimes: RuntimeName[] = RUNTIME === "node" ? ["node", "bun", "deno"] : [RUNTIME];

describe.each(runtimes.filter((name) => commandOf(name) !== undefined))("on %s", (runtime) => {
  /** Deno's `subarray` of buffers, compiled for small ones, cut nothing out of the store's 2 GiB: a read gave "". */
  test("a long text is read whole behind many cuts of small buffers", () => {
    const program = `const { Buffer } = await import("node:buffer");
      const store = await open(":memory:", { memoryBytes: 2 ** 31 });
      const value = "é" + "y".repeat(500);
      await store.put("key", value);
      const small = Buffer.alloc(64);
      let size = 0;
      for (let cut = 0; cut < 50_000; cut++) size += small.subarray(cut % 32, 40).length;
      say([size, store.get("key") === value, store.get("key") === value]);
      await store.close();`;
    const { said, failed } = runProgram(program, ":memory:", runtime);
    expect(said, failed).toEqual([[1_225_128, true, true]]);
  });
});
