/** Readers of a file that another process writes, compacts and cuts off, in a loop: each opening and each refresh succeeds. */
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { commandOf, programFile, RUNTIME } from "../runtime.ts";
import { codeOf, open, scratchPaths } from "./harness.ts";

const newPath = scratchPaths();
const MS = 3000;
const KEYS = 200;
/** Every value of a round ends with it; small and large ones, so that some are read from the device. */
const WRITER = `
  const store = await open(target, { memoryBytes, writeBufferBytes: 262144, durability: "manual" });
  const round = (n) => {
    const batch = [{ type: "set", key: "round", value: String(n) }];
    const some = n % 3 === 0 ? 4 : ${KEYS};
    for (let i = 0; i < ${KEYS}; i++) {
      if (i < some) batch.push({ type: "set", key: "key " + i, value: "v".repeat(i * 150) + n });
      else batch.push({ type: "delete", key: "key " + i });
    }
    return store.batch(batch);
  };
  await round(1);
  await store.flush();
  await round(2);
  say("ready");
  process.stdin.resume();
  let over = false;
  process.stdin.once("end", () => (over = true));
  let n = 2;
  while (!over) {
    await round(++n);
    if (n % 3 === 0) await store.compact({ full: true });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await store.close();
  say(n);
`;

interface Tally {
  answered: number;
  expired: number;
}

/** Asks for all values, one way or another; each must be of the reader's round. */
async function ask(reader: Store, tally: Tally): Promise<void> {
  const take = (index: number, round: number, value: unknown): void => {
    const expected = round % 3 === 0 && index >= 4 ? undefined : "v".repeat(index * 150) + round;
    if (value !== expected) throw new Error(`key ${index} of round ${round} is ${String(value).slice(-20)}`);
    tally.answered++;
  };
  const refused = (error: unknown): void => {
    expect(error).toMatchObject({ code: "SNAPSHOT_EXPIRED" });
    tally.expired++;
  };
  try {
    const round = Number(reader.get("round"));
    for (let i = 0; i < KEYS; i += 3) take(i, round, reader.get(`key ${i}`));
    for (let i = 1; i < KEYS; i += 3) take(i, round, await reader.getAsync(`key ${i}`));
    let count = 0;
    for await (const [key, value] of reader.entries({ prefix: "key " })) {
      take(Number(key.slice(4)), round, value);
      count++;
    }
    expect(count).toBe(round % 3 === 0 ? 4 : KEYS);
  } catch (error) {
    refused(error);
  }
}

test("readers beside a writer that compacts and cuts its file off, in another process", async () => {
  const path = newPath();
  const { command, args } = commandOf(RUNTIME) ?? { command: "", args: [] };
  const writer = spawn(command, [...args, programFile(WRITER), path], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => writer.once("exit", resolve));
  let said = "";
  writer.stdout.on("data", (chunk) => (said += String(chunk)));
  try {
    while (!said.includes("ready")) await new Promise((resolve) => setTimeout(resolve, 10));
    const options = { readOnly: true, cacheBytes: 65_536, writeBufferBytes: 262_144, memoryBytes: 16_777_216 } as const;
    const tally: Tally = { answered: 0, expired: 0 };
    const sizes = new Set<number>();
    let openings = 0;
    for (const end = performance.now() + MS; performance.now() < end; openings++) {
      const reader = await open(path, options);
      sizes.add(statSync(path).size);
      for (let i = 0; i < 4; i++) {
        await ask(reader, tally);
        await reader.refresh();
      }
      const { faults } = await reader.verify().catch((error) => {
        expect(error).toMatchObject({ code: "SNAPSHOT_EXPIRED" });
        return { faults: [] };
      });
      expect(faults).toEqual([]);
      await reader.close();
      expect(await codeOf(() => reader.get("round"))).toBe("CLOSED");
    }
    expect(openings).toBeGreaterThan(3);
    expect(tally.answered).toBeGreaterThan(100);
    // The file did shrink and grow beneath them.
    expect(sizes.size).toBeGreaterThan(1);
  } finally {
    writer.stdin.end();
  }
  expect(await ended).toBe(0);
  const last = Number(said.trim().split("\n")[1]);
  const store = await open(path, { readOnly: true });
  expect(store.get("round")).toBe(String(last));
  await store.close();
}, 60_000);
