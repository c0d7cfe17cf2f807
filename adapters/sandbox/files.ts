/**
 * Stores as files of the origin private file system: what there is, images in, images out.
 *
 * A file is only copied, written or deleted here while no connection has it open. An image is a store's file, byte by byte;
 * the same file opens on every runtime.
 */

import { OpenElsewhere } from "./presence.ts";

/** A store in the origin private file system. */
export interface StoreFile {
  name: string;
  /** Its size in bytes. */
  size: number;
}

const MAGIC = "CAIRNKV1";
/** Where the copies of the superblock lie. */
const SUPERBLOCK_OFFSETS = [0, 262_144, 524_288, 786_432];
/** A worker that is ended is given two seconds by Chromium before it is cut off, on a busy machine more. */
const PATIENCE_MS = 5_000;
const RETRY_MS = 20;
const COPY_SIZE = 8 * 1_048_576;

/** Why this page cannot keep files, or nothing when it can. */
export function missing(): string | undefined {
  if (!isSecureContext) {
    return "This page was not loaded from a secure origin, so the browser gives it no file system. Use https: or localhost.";
  }
  if (typeof navigator.storage?.getDirectory !== "function") {
    return "This browser has no origin private file system, which stores are kept in. Recent Chromium and Firefox have it.";
  }
  return undefined;
}

/** All stores, by name. */
export async function storeFiles(): Promise<StoreFile[]> {
  const root = await navigator.storage.getDirectory();
  const found: StoreFile[] = [];
  for await (const handle of root.values()) {
    if (handle.kind !== "file") continue;
    try {
      const file = await (handle as FileSystemFileHandle).getFile();
      if (await isImage(file)) found.push({ name: handle.name, size: file.size });
    } catch {
      // It went away meanwhile, or another tab is writing it anew.
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Whether a file begins as a store does: one copy of the superblock is enough. */
export async function isImage(file: Blob): Promise<boolean> {
  for (const offset of SUPERBLOCK_OFFSETS) {
    if ((await file.slice(offset, offset + MAGIC.length).text()) === MAGIC) return true;
  }
  return false;
}

/** Copies an image in, under a name that is free: the name. Nothing is left of it when that fails. */
export async function importImage(file: File): Promise<string> {
  if (!(await isImage(file))) {
    throw new Error(`${file.name} is not an image of a store: it holds no superblock. Nothing was imported.`);
  }
  const root = await navigator.storage.getDirectory();
  const name = await freeName(root, file.name);
  try {
    const handle = await root.getFileHandle(name, { create: true });
    // Written beside the file and moved over it at the end.
    await file.stream().pipeTo(await handle.createWritable());
  } catch (cause) {
    await removeStore(name).catch(() => undefined);
    throw new Error(`${file.name} could not be imported: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  return name;
}

/** Hands a closed store's file to the browser as a download. */
export async function downloadImage(name: string): Promise<void> {
  const root = await navigator.storage.getDirectory();
  const handle = await root.getFileHandle(name);
  // One writer keeps all others away, also those that are no tabs of this page.
  const hold = await whenFree(name, () => handle.createWritable());
  try {
    download(await copyOf(await handle.getFile()), name);
  } finally {
    await hold.abort();
  }
}

/** A copy of a file, which stays as it is when the store is opened again while the browser saves it. */
async function copyOf(file: File): Promise<Blob> {
  const pieces: Blob[] = [];
  for (let offset = 0; offset < file.size; offset += COPY_SIZE) {
    // The browser keeps blobs outside of this page's memory, and large ones on disk.
    pieces.push(new Blob([await file.slice(offset, offset + COPY_SIZE).arrayBuffer()]));
  }
  return new Blob(pieces, { type: "application/octet-stream" });
}

/** Deletes a closed store. */
export async function removeStore(name: string): Promise<void> {
  const root = await navigator.storage.getDirectory();
  await whenFree(name, () => root.removeEntry(name));
}

/** Hands bytes to the browser as a download. */
export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser may begin to read only after this turn.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Does what the browser refuses while somebody has the file open. A worker or a stream that has just ended may hold it for
 * a moment still, so the refusal counts only when it lasts.
 */
async function whenFree<T>(name: string, work: () => Promise<T>): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (cause) {
      if ((cause as DOMException).name !== "NoModificationAllowedError") throw cause;
      if (performance.now() > end) {
        throw new OpenElsewhere(name, { cause });
      }
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function freeName(root: FileSystemDirectoryHandle, wanted: string): Promise<string> {
  const taken = new Set<string>();
  for await (const name of root.keys()) taken.add(name);
  if (!taken.has(wanted)) return wanted;
  const dot = wanted.lastIndexOf(".");
  const [stem, extension] = dot > 0 ? [wanted.slice(0, dot), wanted.slice(dot)] : [wanted, ""];
  let number = 2;
  while (taken.has(`${stem}-${number}${extension}`)) number++;
  return `${stem}-${number}${extension}`;
}
