/**
 * A child that writes into stores until it is killed. It says what is in a store when it has opened it, and which commits
 * are durable as soon as it knows. It is bundled for each runtime, whose entry point `cairn-kv` is then.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { open } from "cairn-kv";
import { Life } from "./life.ts";
import type { Order, Saying } from "./protocol.ts";

function say(saying: Saying): void {
  const bytes = Buffer.from(`${JSON.stringify(saying)}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

function readOrder(): Promise<Order> {
  let text = "";
  return new Promise((resolve) => {
    process.stdin.on("data", (chunk) => {
      text += chunk;
      if (text.endsWith("\n")) resolve(JSON.parse(text));
    });
  });
}

const ordered = readOrder();
say({ type: "ready" });
const order = await ordered;
await Promise.all(
  order.stores.map(async (_, index) => {
    const life = new Life(order, index, open, say);
    try {
      await life.open(order.verifies);
    } catch (error) {
      const { code = "", message } = error as { code?: string; message: string };
      say({ type: "failed", store: index, code, message: `open: ${message}`, afterwards: [] });
      return;
    }
    await (order.looksOnly ? life.close() : life.run());
  }),
);
process.exit(0);
