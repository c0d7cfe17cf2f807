/**
 * One of several that want the same store: opens it as soon as it can, counts on, closes it, or is killed. `argv`: the path,
 * a name. Each number is given out by a transaction over what the store holds, and said when it is durable: two owners at
 * once would give the same number twice. It is bundled for each runtime, whose entry point `cairn-kv` is then.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { open } from "cairn-kv";

/** What a fighter says. */
export type Fought =
  /** It has the store, which holds so many numbers. */
  | { type: "owner"; count: number; epoch: number }
  /** The number is durable, and its own. */
  | { type: "counted"; number: number; tag: string }
  /** A call, or opening, was refused. */
  | { type: "refused"; call: string; code: string; message: string };

function say(saying: Fought): void {
  writeSync(1, `${JSON.stringify(saying)}\n`);
}

const [path = "", name = ""] = process.argv.slice(2);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const options = { memoryBytes: 33_554_432, cacheBytes: 262_144, writeBufferBytes: 262_144 } as const;

for (let turn = 0; ; turn++) {
  let call = "open";
  try {
    const store = await open(path, options);
    say({ type: "owner", count: Number(store.get("count") ?? "0"), epoch: store.stats().epoch });
    const turns = 1 + Math.floor(Math.random() * 30);
    try {
      for (let i = 0; i < turns; i++) {
        call = "transaction";
        const tag = `${name}.${turn}.${i}`;
        const number = store.transaction((tx) => {
          const next = Number(tx.get("count") ?? "0") + 1;
          tx.set("count", String(next));
          tx.set(`number ${next}`, tag);
          return next;
        });
        call = "flush";
        if (i % 3 === 0) store.flushSync();
        else await store.flush();
        say({ type: "counted", number, tag });
        if (i % 5 === 4) await pause(Math.random() * 3);
      }
      call = "close";
    } finally {
      await store.close();
    }
  } catch (error) {
    const { code = "", message } = error as { code?: string; message: string };
    say({ type: "refused", call, code, message });
  }
  await pause(Math.random() * 6);
}
