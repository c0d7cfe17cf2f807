/**
 * A store in a process of its own, which does one call after another as it is told: `{ id, call, args }`, a line each. What it
 * answers is what the call came to. It is bundled for each runtime, whose entry point `cairn-kv` is then.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { type OpenOptions, open, type Store } from "cairn-kv";
import { tagOf, textOf } from "./workload.ts";

let store: Store;

const SMALL = { memoryBytes: 33_554_432, cacheBytes: 262_144, writeBufferBytes: 262_144 } as const;

/** What a puppet does. Values are named by their tags. */
export const CALLS = {
  async open(path: string, options: OpenOptions = {}): Promise<number> {
    store = await open(path, { ...SMALL, durability: "manual", compaction: { auto: false }, ...options });
    return store.count();
  },
  put: (key: string, tag: string) => store.put(key, textOf(tag)),
  del: (key: string) => store.del(key),
  set: (key: string, tag: string) => store.set(key, textOf(tag)),
  /** All of `keys` with the same value, whole or not at all. */
  batch: (keys: string[], tag: string) =>
    store.batch(keys.map((key) => ({ type: "set", key, value: textOf(tag) }) as const)).then(() => true),
  flush: () => store.flush(),
  flushSync: () => store.flushSync(),
  /** The tag of what is there: `null` when nothing is, the empty string when it is not what was written. */
  get: (key: string) => tagIn(key, store.get(key)),
  getAsync: async (key: string) => tagIn(key, await store.getAsync(key)),
  /** All keys with their tags. */
  scan: () => [...store.entries()].map(([key, value]) => [key, tagIn(key, value)]),
  verify: async () => (await store.verify()).faults.map((fault) => JSON.stringify(fault)),
  compact: async () => (await store.compact({ full: true })).segmentsFreed,
  version: () => store.version,
  epoch: () => store.stats().epoch,
  close: () => store.close(),
} as const;

function tagIn(key: string, value: string | undefined): string | null {
  return value === undefined ? null : (tagOf(key, value) ?? "");
}

/** The code of what everything began with. */
function firstCauseOf(error: unknown): string | undefined {
  let first = error as { code?: string; message: string; cause?: unknown };
  while (first.cause instanceof Error) first = first.cause as typeof first;
  return first === error ? undefined : (first.code ?? first.message);
}

async function answer(line: string): Promise<void> {
  const { id, call, args } = JSON.parse(line) as { id: number; call: keyof typeof CALLS; args: never[] };
  let said: object;
  try {
    said = { code: "done", result: await (CALLS[call] as (...args: never[]) => unknown)(...args) };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    said = { code: code ?? String(error), message, cause: firstCauseOf(error) };
  }
  const bytes = Buffer.from(`${JSON.stringify({ type: "answer", id, ...said })}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

let text = "";
for await (const chunk of process.stdin) {
  text += chunk;
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
    const line = text.slice(0, end);
    text = text.slice(end + 1);
    // The calls of one line after another are made at once: what waits does not hold up the next.
    void answer(line);
  }
}
process.exit(0);
