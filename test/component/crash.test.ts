/** A process that is killed in the midst of durable writes through the component: what was acknowledged is there. */
import { once } from "node:events";
import { utimesSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { bench, missing, RUNTIMES, type Runtime } from "./component.ts";

const { run, start, folder } = bench();
const ACKNOWLEDGED_MIN = 40;

/** Runs a guest that writes `key 0`, `key 1`, … durably, and kills it: the highest that it was told is durable. */
async function killWriter(runtime: Runtime, name: string): Promise<number> {
  const guest = start(runtime, "forever", { name });
  const lines = createInterface({ input: guest.stdout as NodeJS.ReadableStream });
  let acknowledged = -1;
  lines.on("line", (line) => {
    acknowledged = Number(line);
    if (acknowledged >= ACKNOWLEDGED_MIN) guest.kill("SIGKILL");
  });
  const [, signal] = await once(guest, "exit");
  expect(signal).toBe("SIGKILL");
  expect(acknowledged).toBeGreaterThanOrEqual(ACKNOWLEDGED_MIN);
  // A minute without a heartbeat.
  const then = new Date(Date.now() - 60_000);
  utimesSync(join(folder, `${name}.lock`), then, then);
  return acknowledged;
}

describe.skipIf(missing)("after a kill", { concurrent: true }, () => {
  test.each(RUNTIMES)("on %s: every acknowledged write is found, by the component and by Node", async (runtime) => {
    const name = `${runtime}.cairn`;
    const acknowledged = await killWriter(runtime, name);
    const found: number = await run(runtime, "prefix", { name });
    expect(found).toBeGreaterThanOrEqual(acknowledged + 1);
    const store = await open(join(folder, name));
    expect(store.count()).toBe(found);
    for (let i = 0; i < found; i++) expect(store.get(`key ${i}`)).toBe(`value ${i}`.repeat(50));
    await store.close();
  });

  test("Node opens what the component left behind", async () => {
    const acknowledged = await killWriter("node", "left.cairn");
    const store = await open(join(folder, "left.cairn"));
    const count = store.count();
    expect(count).toBeGreaterThanOrEqual(acknowledged + 1);
    for (let i = 0; i < count; i++) expect(store.get(`key ${i}`)).toBe(`value ${i}`.repeat(50));
    await store.close();
  });
});
