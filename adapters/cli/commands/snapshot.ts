/** `cairn snapshot`: versioned snapshots of a store in a folder or a bucket. */
import type { Command } from "commander";
import { folderRemote, type Remote, restoreSnapshot } from "../../../hosts/node.ts";
import { withStore } from "../byte-store.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_NOT_FOUND, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";
import { startSteps } from "../progress.ts";

const REMOTE = "a folder, or s3://bucket/prefix";
const MIB = 1_048_576;

export function define(command: Command): void {
  command
    .command("push")
    .summary("keep the store as it is now")
    .argument("<store>", "file or block device of the store")
    .argument("<remote>", REMOTE)
    .argument("<id>", "what the snapshot is to be called")
    .option("--read-only", "take no lock: the last durable state, also while another process has the store open")
    .action(push);
  command.command("list").summary("list the snapshots, the newest last").argument("<remote>", REMOTE).action(list);
  command
    .command("restore")
    .summary("bring one of them back")
    .argument("<store>", "file or block device that the store is restored to")
    .argument("<remote>", REMOTE)
    .argument("[id]", "which one; default: the newest")
    .option("--overwrite", "give up what the store holds now")
    .action(bringBack);
  command
    .command("delete")
    .summary("delete one; gc gives its space back")
    .argument("<remote>", REMOTE)
    .argument("<id>", "which one")
    .action(remove);
  command
    .command("gc")
    .summary("remove what no snapshot needs: of deleted ones, and of pushes that died")
    .argument("<remote>", REMOTE)
    .action(collect);
  addExamples(command, [
    "cairn snapshot push app.cairn /mnt/backups monday",
    "cairn snapshot list s3://my-bucket/app",
    "cairn snapshot restore app.cairn s3://my-bucket/app monday --overwrite",
  ]);
  command.addHelpText("after", "\nFor s3:// install @aws-sdk/client-s3; it takes its settings from the environment.");
}

async function push(target: string, place: string, id: string, options: { readOnly?: true }): Promise<void> {
  const remote = await remoteOf(place);
  const progress = startSteps();
  const onProgress = ({ phase, done, total }: { phase: string; done: number; total: number }): void => {
    if (phase === "backup") progress.update("MiB", Math.round(done / MIB), Math.round(total / MIB));
  };
  try {
    const opening = { create: false, readOnly: options.readOnly === true, onProgress };
    await say([await withStore(target, opening, (store) => store.pushSnapshot(remote, id))]);
  } finally {
    progress.stop();
  }
}

async function list(place: string): Promise<void> {
  await say(await (await remoteOf(place)).list());
}

async function bringBack(
  target: string,
  place: string,
  id: string | undefined,
  options: { overwrite?: true },
): Promise<void> {
  const remote = await remoteOf(place);
  const progress = startSteps();
  try {
    const report = await restoreSnapshot(remote, target, id, {
      overwrite: options.overwrite === true,
      onProgress: ({ done, total }) => progress.update("MiB", Math.round(done / MIB), Math.round(total / MIB)),
    });
    await say([report]);
  } finally {
    progress.stop();
  }
}

async function remove(place: string, id: string): Promise<void> {
  const deleted = await (await remoteOf(place)).delete(id);
  process.exitCode = deleted ? EXIT_OK : EXIT_NOT_FOUND;
}

async function collect(place: string): Promise<void> {
  await say([await (await remoteOf(place)).gc()]);
}

async function remoteOf(place: string): Promise<Remote> {
  if (!place.startsWith("s3:")) return folderRemote(place);
  const { protocol, hostname, pathname } = new URL(place);
  if (protocol !== "s3:" || hostname === "") {
    throw new CommandFailure(`${place} names no bucket: s3://bucket/prefix does`, EXIT_BAD_USE);
  }
  const { s3Remote } = await import("../../s3/index.ts");
  return s3Remote({ bucket: hostname, prefix: decodeURIComponent(pathname.slice(1)) });
}

/** NDJSON. */
async function say(objects: readonly object[]): Promise<void> {
  const output = new Output(process.stdout);
  for (const object of objects) output.write(`${JSON.stringify(object)}\n`);
  await output.flush();
  process.exitCode = EXIT_OK;
}
