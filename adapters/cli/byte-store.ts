/** Stores as the tool opens them: keys and values are bytes. Loaded only by commands that touch a store. */
import { existsSync } from "node:fs";
import { CairnError, open } from "../../hosts/node.ts";
import { VALUE_SIZE_MAX } from "../../store/store.ts";
import { CommandFailure } from "./failure.ts";

/** Opens `target` with binary encodings. */
export async function openBytes(target: string, options: { create: boolean }) {
  try {
    return await open(target, { create: options.create, keyEncoding: "binary", valueEncoding: "binary" });
  } catch (error) {
    if (!(error instanceof CairnError) || error.code !== "NOT_A_STORE" || existsSync(target)) throw error;
    throw new CommandFailure(`${target} does not exist; "cairn load" and "cairn set" create a store`);
  }
}

/** A store whose keys and values are bytes. */
export type ByteStore = Awaited<ReturnType<typeof openBytes>>;

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
