/**
 * What the benchmark calls on its page in Chromium: the probe in a worker, and the same writes by `connect`, IndexedDB and
 * SQLite on OPFS, each until they are on the device.
 */
import { connect } from "../../hosts/browser.ts";
import type { Extent, ProbeFigures } from "./probe.ts";
import type { WriteAnswer, WriteOrder } from "./sqlite-worker.ts";

const VALUE_SIZE = 100;

/** Milliseconds that writing `count` records took. */
export interface WriteFigures {
  cairn: number;
  indexedDb: number;
  sqlite: number;
  /** In a worker, as SQLite. */
  cairnInWorker: number;
}

async function probeInWorker(extent: Extent): Promise<ProbeFigures> {
  const worker = new Worker("/opfs-worker.js", { type: "module" });
  try {
    return await new Promise<ProbeFigures>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<{ figures?: ProbeFigures; error?: string }>) =>
        data.figures === undefined ? reject(new Error(data.error)) : resolve(data.figures);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(extent);
    });
  } finally {
    worker.terminate();
  }
}

async function writes(count: number): Promise<WriteFigures> {
  const keys = Array.from({ length: count }, (_, i) => `user:${String((i * 7919) % count).padStart(8, "0")}`);
  const value = "v".repeat(VALUE_SIZE);
  return {
    indexedDb: await writeIndexedDb(keys, value),
    sqlite: await writeInWorker("/sqlite-worker.js", { keys, value }),
    cairnInWorker: await writeInWorker("/opfs-worker.js", { keys, value }),
    cairn: await writeCairn(keys, value),
  };
}

async function writeCairn(keys: string[], value: string): Promise<number> {
  const store = await connect("page");
  const start = performance.now();
  const pending = keys.map((key) => store.set(key, value));
  await Promise.all(pending);
  await store.flush();
  const ms = performance.now() - start;
  const found = await store.get(keys[keys.length >> 1] as string);
  if (found !== value) throw new Error("cairn gave a wrong value");
  await store.close();
  return ms;
}

async function writeIndexedDb(keys: string[], value: string): Promise<number> {
  const database = await done(indexedDB.open("page", 1), (request) => request.result.createObjectStore("records"));
  const start = performance.now();
  const transaction = database.transaction("records", "readwrite", { durability: "strict" });
  const records = transaction.objectStore("records");
  for (const key of keys) records.put(value, key);
  await new Promise<void>((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onerror = () => reject(transaction.error);
  });
  const ms = performance.now() - start;
  database.close();
  return ms;
}

function done(request: IDBOpenDBRequest, upgrade: (request: IDBOpenDBRequest) => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    request.onupgradeneeded = () => upgrade(request);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function writeInWorker(address: string, order: WriteOrder): Promise<number> {
  const worker = new Worker(address, { type: "module" });
  try {
    return await new Promise<number>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<WriteAnswer>) =>
        data.ms === undefined ? reject(new Error(data.error)) : resolve(data.ms);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage(order);
    });
  } finally {
    worker.terminate();
  }
}

Object.assign(globalThis, { probeInWorker, writes });
