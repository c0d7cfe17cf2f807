/** Stores as the tool opens them: keys and values are bytes. Loaded only by commands that touch a store. */
import { existsSync } from "node:fs";
import { CairnError, open, type Store, type StoreProgress } from "../../hosts/node.ts";
import { VALUE_SIZE_MAX } from "../../store/store.ts";
import { CommandFailure } from "./failure.ts";

/** How a command opens its store. */
export interface Opening {
  /** Whether a missing store is created. */
  create: boolean;
  /** Take no lock and write nothing: the last durable state, also while another process has the store open. */
  readOnly?: boolean;
  /** Told how far what takes its time is. */
  onProgress?: (progress: StoreProgress) => void;
}

/** A store whose keys and values are bytes. */
export type ByteStore = Store<Uint8Array, Uint8Array>;

/** Opens `target`, runs `work` on it, and closes it. Where both fail, what `work` threw tells more. */
export async function withStore<Result>(
  target: string,
  opening: Opening,
  work: (store: ByteStore) => Promise<Result>,
): Promise<Result> {
  const store = await openBytes(target, opening);
  let result: Result;
  try {
    result = await work(store);
  } catch (error) {
    await store.close().catch(() => {});
    throw error;
  }
  await store.close();
  return result;
}

async function openBytes(target: string, opening: Opening): Promise<ByteStore> {
  try {
    return await open(target, { ...opening, keyEncoding: "binary", valueEncoding: "binary" });
  } catch (error) {
    if (!(error instanceof CairnError) || error.code !== "NOT_A_STORE" || existsSync(target)) throw error;
    throw missing(target);
  }
}

/** Throws `CommandFailure` when nothing lies at `target`. */
export function existsOrFail(target: string): void {
  if (!existsSync(target)) throw missing(target);
}

function missing(target: string): CommandFailure {
  return new CommandFailure(`${target} does not exist; "cairn load" and "cairn set" create a store`);
}

/** All of standard input, when it fits into one value. */
export async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > VALUE_SIZE_MAX)
      throw new CommandFailure("standard input is over 64 MiB, the most that a value can hold");
  }
  return new Uint8Array(Buffer.concat(chunks));
}
