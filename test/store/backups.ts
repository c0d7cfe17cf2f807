/** Taking backups to memory, and bringing them back to devices. */
import type { BackupSource } from "../../hosts/restoring.ts";
import type { BackupStream } from "../../store/backup/stream.ts";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { openTiny, restore } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const MIB = 1_048_576;
/** Little memory, and nothing written unless somebody asks. */
export const MANUAL = {
  writeBufferBytes: 262_144,
  cacheBytes: 262_144,
  memoryBytes: 16 * MIB,
  durability: "manual",
} as const;

/** All bytes of a stream. `between` runs after each chunk. */
export async function bytesOf(
  stream: ReadableStream<Uint8Array>,
  between: () => void | Promise<void> = () => {},
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    await between();
  }
  const bytes = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** A backup as bytes, and its version. */
export async function backupOf(
  store: Store,
  since?: number,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; version: number }> {
  const stream: BackupStream = store.backup(since === undefined ? {} : { since });
  return { bytes: await bytesOf(stream), version: await stream.version };
}

/** A store of what backups hold, on a device of its own. */
export async function restored(
  sources: readonly Uint8Array[],
  device = new ImageDevice(),
  checkpoints: CheckpointPace = {},
): Promise<Store> {
  await restore(device, sources.map((bytes) => [bytes]) as BackupSource);
  return openTiny(device, MANUAL, 16, checkpoints);
}

/** What a promise rejects with, or an error that says that it did not. */
export function failureOf(promise: Promise<unknown>): Promise<CairnError> {
  return promise.then(
    () => {
      throw new Error("it was fulfilled");
    },
    (error) => error as CairnError,
  );
}
