/**
 * Computes SHA-256 of files, as jobs.
 *
 *   node examples/job-queue/main.ts add jobs.cairn FILE...
 *   node examples/job-queue/main.ts work jobs.cairn          until there is nothing left; kill it and start it again
 *
 * LEASE_MS (10000), ATTEMPTS (3) and BACKOFF_MS (100) are the queue's options.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { JobQueue } from "./queue.ts";

const [command, path = "jobs.cairn", ...files] = process.argv.slice(2);
const { LEASE_MS = "10000", ATTEMPTS = "3", BACKOFF_MS = "100" } = process.env;
const queue = await JobQueue.open<string>(path, {
  leaseMs: Number(LEASE_MS),
  attempts: Number(ATTEMPTS),
  backoffMs: Number(BACKOFF_MS),
});

async function work(): Promise<void> {
  for (;;) {
    const job = queue.take();
    if (job === undefined) {
      const due = queue.nextDue();
      if (due === undefined) return;
      await new Promise((resolve) => setTimeout(resolve, Math.max(1, due - Date.now())));
      continue;
    }
    console.log(`${job.id} taken, attempt ${job.attempt}`);
    try {
      const digest = createHash("sha256")
        .update(await readFile(job.payload))
        .digest("hex");
      if (await queue.done(job)) console.log(`${job.id} done ${digest}`);
    } catch (error) {
      console.log(`${job.id} failed: ${await queue.fail(job, String(error))}`);
    }
  }
}

if (command === "add") console.log(`added ${(await Promise.all(files.map((file) => queue.add(file)))).join(" ")}`);
else if (command === "work") {
  await work();
  for (const { id, payload } of queue.dead()) console.log(`${id} is dead: ${payload}`);
} else {
  console.error("use: add STORE FILE... | work STORE");
  process.exitCode = 2;
}
await queue.close();
