/**
 * The suite of `abstract-level`, whole. On Node each of its databases is a file; elsewhere, where files were tested otherwise,
 * a device in memory that outlasts the database, which takes half the time.
 */
import suite from "abstract-level/test";
import { describe } from "vitest";
import { CairnLevel, type CairnLevelOptions } from "../../adapters/level/index.ts";
import { MemoryDevice, scratchPaths } from "../store/harness.ts";
import { tapTest } from "./tap.ts";

const newPath = scratchPaths();
/** The less memory, the sooner a database is open. */
const MEMORY_BYTES_LEAST = 16 * 1024 * 1024;

/** With little memory, which is no option of the constructor's here: the suite looks at what hooks get of those. */
class SmallLevel extends CairnLevel {
  override _open(options: Record<string, unknown>): Promise<void> {
    return super._open({ memoryBytes: MEMORY_BYTES_LEAST, ...options });
  }
}

/** Bun and Deno have a `process` as well. */
const isNode =
  "process" in globalThis && !("Bun" in globalThis) && !("Deno" in globalThis) && !("WorkerGlobalScope" in globalThis);

/** Stays as it is when its database is closed, and so may be opened again. */
class KeptDevice extends MemoryDevice {
  override close(): void {}
}

describe(`abstract-level, in a ${isNode ? "file" : "device"}`, () => {
  suite({
    test: tapTest,
    factory: (options?: CairnLevelOptions<string, string>) =>
      new SmallLevel(isNode ? newPath() : new KeptDevice(), options),
  });
});
