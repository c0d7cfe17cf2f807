/**
 * Versioned snapshots in a place of files: a folder, a bucket.
 *
 * ```
 * snapshots/<id>      a manifest: the header of a backup, then the SHA-256 of each of its pieces, then SHA-256 of all that
 * pieces/ab/<sha256>  blocks of a store, under the digest of them
 * pushing/<random>    a push is under way: nothing is collected
 * collecting          pieces are being collected: nothing is pushed
 * ```
 *
 * 1. A manifest is written last, at once and only where there is none of that id: what it names is there. Pieces are never
 *    changed; many manifests name one.
 * 2. A push writes its marker, then looks for one of a collection; a collection the other way round. So one of them sees
 *    the other, and what a push found there is not taken away under it. A marker that nobody has renewed for a while is of
 *    a process that is gone.
 */
import { CairnError } from "../error.ts";
import {
  type BackupHeader,
  bytesOf,
  bytesOfHex,
  DIGEST_SIZE,
  decodeHeader,
  encodeHeader,
  encodeTrailer,
  factsOfSuperblock,
  headerSize,
  hexOf,
  piecesOf,
  pointOf,
  sameBytes,
  sha256,
} from "./format.ts";
import { joined } from "./stream.ts";

/** A file in such a place. */
export interface RemoteFile {
  /** Its name, as it was written under. */
  name: string;
  /** Bytes. */
  size: number;
  /** Milliseconds since 1970, by the place's own clock. */
  modifiedMs: number;
}

/** What a place of files must do. Names have parts of letters, digits, `.`, `_` and `-`, with `/` between. */
export interface RemoteFiles {
  /** A file's bytes, or `undefined` where there is none. */
  read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /**
   * Writes a file, so that others see all of it or none, durably. With `isNew` only where there is none of that name:
   * whether there was none.
   */
  write(name: string, bytes: Uint8Array, isNew?: boolean): Promise<boolean>;
  /** Whether there is such a file. */
  has(name: string): Promise<boolean>;
  /** All files whose names begin so. */
  list(prefix: string): AsyncIterable<RemoteFile>;
  /** Removes a file, if it is there. */
  remove(name: string): Promise<void>;
}

/** A snapshot in a remote. */
export interface RemoteSnapshot {
  /** What it was pushed as. */
  id: string;
  /** The version of the store that it holds. */
  version: number;
  /** Bytes of the store's blocks in it; pieces that other snapshots have, too, are counted with each. */
  bytes: number;
  /** When it was pushed, in milliseconds since 1970, by the remote's clock. */
  pushedMs: number;
}

/** What `gc` did. */
export interface CollectReport {
  /** Pieces that no snapshot names, which are gone. */
  pieces: number;
  /** Bytes of them. */
  bytes: number;
}

/** A snapshot's manifest: a backup without its blocks, and their digests. */
export interface Manifest {
  header: BackupHeader;
  /** Of each piece, in the order of the spans, as 64 hexadecimal digits. */
  digests: readonly string[];
}

const SNAPSHOTS = "snapshots/";
const PIECES = "pieces/";
const PUSHING = "pushing/";
const COLLECTING = "collecting";
const ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;
/** How long a marker counts that nobody renews. */
const STALE_MS = 15 * 60_000;
/** Pieces that are read, or removed, at the same time. */
const AT_ONCE = 8;

/** A place for versioned snapshots of stores: `folderRemote`, or `s3Remote` of `cairn-kv/s3`. */
export class Remote {
  private readonly files: RemoteFiles;

  /** Over any place that keeps files; what it must do is in `RemoteFiles`. */
  constructor(files: RemoteFiles) {
    this.files = files;
  }

  /** The snapshots, the newest last. Reads each one's manifest. */
  async list(): Promise<RemoteSnapshot[]> {
    const found: RemoteSnapshot[] = [];
    for await (const { name, modifiedMs } of this.files.list(SNAPSHOTS)) {
      const id = name.slice(SNAPSHOTS.length);
      const { header } = await this.manifest(id, "list");
      found.push({ id, version: pointOf(header).version, bytes: bytesOf(header.spans), pushedMs: modifiedMs });
    }
    return found.sort((a, b) => a.pushedMs - b.pushedMs || a.version - b.version);
  }

  /** Deletes a snapshot; what only it held stays until `gc`. Whether it was there. */
  async delete(id: string): Promise<boolean> {
    checkId(id, "delete");
    if (!(await this.files.has(SNAPSHOTS + id))) return false;
    await this.files.remove(SNAPSHOTS + id);
    return true;
  }

  /**
   * Removes what no snapshot names: what deleted ones leave, and pushes that died. `LOCKED` while one is under way, or was
   * less than `staleMs` (15 minutes) ago and did not end: then nothing is removed.
   */
  async gc({ staleMs = STALE_MS }: { staleMs?: number } = {}): Promise<CollectReport> {
    const { files } = this;
    await files.write(COLLECTING, new Uint8Array(1));
    try {
      const now = await this.clockMs();
      for await (const { name, modifiedMs } of files.list(PUSHING)) {
        if (now - modifiedMs < staleMs) {
          const message = "gc: a snapshot is being pushed, or was a short while ago. Try again when that has ended.";
          throw new CairnError("LOCKED", "gc", message);
        }
        await files.remove(name);
      }
      const named = new Set<string>();
      for await (const { name } of files.list(SNAPSHOTS)) {
        for (const digest of (await this.manifest(name.slice(SNAPSHOTS.length), "gc")).digests) named.add(digest);
      }
      const lost: RemoteFile[] = [];
      for await (const file of files.list(PIECES)) if (!named.has(digestOf(file.name))) lost.push(file);
      let renewed = performance.now();
      await each(lost, AT_ONCE, async ({ name }) => {
        if (performance.now() - renewed > STALE_MS / 5) {
          renewed = performance.now();
          await files.write(COLLECTING, new Uint8Array(1));
        }
        await files.remove(name);
      });
      return { pieces: lost.length, bytes: lost.reduce((sum, { size }) => sum + size, 0) };
    } finally {
      await files.remove(COLLECTING);
    }
  }

  /** The newest snapshot's id. `NOT_A_STORE` when there is none. */
  async newest(): Promise<string> {
    let newest: string[] = [];
    let newestMs = Number.NEGATIVE_INFINITY;
    for await (const { name, modifiedMs } of this.files.list(SNAPSHOTS)) {
      if (modifiedMs > newestMs) newest = [];
      newestMs = Math.max(newestMs, modifiedMs);
      if (modifiedMs === newestMs) newest.push(name.slice(SNAPSHOTS.length));
    }
    // Buckets tell whole seconds: of one second, the highest version.
    let found: { id: string; version: number } | undefined;
    for (const id of newest) {
      const version = newest.length === 1 ? 0 : pointOf((await this.manifest(id, "restoreSnapshot")).header).version;
      if (found === undefined || version > found.version) found = { id, version };
    }
    if (found !== undefined) return found.id;
    throw new CairnError("NOT_A_STORE", "restoreSnapshot", "restoreSnapshot: the remote holds no snapshot.");
  }

  /** A snapshot's manifest. `NOT_A_STORE`, `CORRUPT`. @internal */
  async manifest(id: string, operation: string): Promise<Manifest> {
    checkId(id, operation);
    const bytes = await this.files.read(SNAPSHOTS + id);
    if (bytes === undefined) {
      throw new CairnError("NOT_A_STORE", operation, `${operation}: the remote holds no snapshot ${id}.`);
    }
    return decodeManifest(bytes, id, operation);
  }

  /** Manifests of the snapshots, the newest first; those that are damaged are left out. @internal */
  async *manifests(): AsyncGenerator<Manifest> {
    const found: RemoteFile[] = [];
    for await (const file of this.files.list(SNAPSHOTS)) found.push(file);
    found.sort((a, b) => b.modifiedMs - a.modifiedMs);
    for (const { name } of found) {
      const manifest = await this.manifest(name.slice(SNAPSHOTS.length), "pushSnapshot").catch(() => undefined);
      if (manifest !== undefined) yield manifest;
    }
  }

  /** A snapshot as the bytes of a backup. `NOT_A_STORE`, `CORRUPT` where a piece is missing or damaged. */
  async *backup(id: string): AsyncGenerator<Uint8Array> {
    const { header, digests } = await this.manifest(id, "restoreSnapshot");
    const start = encodeHeader(header);
    const digest = await sha256(start);
    yield joined(start, digest);
    const reads: Promise<Uint8Array<ArrayBuffer>>[] = [];
    for (let i = 0; i < digests.length; i++) {
      while (reads.length < AT_ONCE && i + reads.length < digests.length) {
        const read = this.piece(digests[i + reads.length] as string);
        read.catch(() => undefined);
        reads.push(read);
      }
      yield joined(await (reads.shift() as Promise<Uint8Array<ArrayBuffer>>), bytesOfHex(digests[i] as string));
    }
    yield encodeTrailer(await sha256(joined(digest, ...digests.map(bytesOfHex))));
  }

  /** Begins a push: pieces are safe until `end`. `LOCKED` while pieces are collected, `INVALID_ARGUMENT` when the id is taken. @internal */
  async begin(id: string): Promise<Push> {
    const { files } = this;
    checkId(id, "pushSnapshot");
    if (await files.has(SNAPSHOTS + id)) throw taken(id);
    const marker = PUSHING + crypto.randomUUID();
    await files.write(marker, new Uint8Array(1));
    try {
      for await (const { modifiedMs } of files.list(COLLECTING)) {
        if ((await this.clockMs(marker)) - modifiedMs >= STALE_MS) continue;
        const message = "pushSnapshot: pieces are being collected (gc). Try again when that has ended.";
        throw new CairnError("LOCKED", "pushSnapshot", message);
      }
    } catch (error) {
      await files.remove(marker).catch(() => undefined);
      throw error;
    }
    return new Push(files, marker, id);
  }

  /** The time by the remote's clock: that of a marker just written. */
  private async clockMs(marker = COLLECTING): Promise<number> {
    for await (const { name, modifiedMs } of this.files.list(marker)) if (name === marker) return modifiedMs;
    return Date.now();
  }

  private async piece(digest: string): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.files.read(nameOf(digest));
    if (bytes !== undefined && hexOf(await sha256(bytes)) === digest) return bytes;
    const what = bytes === undefined ? "is missing" : "is damaged";
    const message = `restoreSnapshot: the piece ${digest} ${what}. Nothing was restored; try an older snapshot.`;
    throw new CairnError("CORRUPT", "restoreSnapshot", message);
  }
}

/** A push under way. */
export class Push {
  private readonly files: RemoteFiles;
  private readonly marker: string;
  private readonly id: string;
  private renewedMs = performance.now();

  constructor(files: RemoteFiles, marker: string, id: string) {
    this.files = files;
    this.marker = marker;
    this.id = id;
  }

  /** Makes sure that a piece is there: whether it had to be sent. */
  async send(digest: string, bytes: Uint8Array): Promise<boolean> {
    const { files } = this;
    if (performance.now() - this.renewedMs > STALE_MS / 5) {
      this.renewedMs = performance.now();
      await files.write(this.marker, new Uint8Array(1));
    }
    if (await files.has(nameOf(digest))) return false;
    await files.write(nameOf(digest), bytes);
    return true;
  }

  /** Names the snapshot: from now on it is there. */
  async finish(manifest: Manifest): Promise<void> {
    if (!(await this.files.has(this.marker))) {
      const message = "pushSnapshot: it stood still for so long that its pieces may have been collected. Push again.";
      throw new CairnError("LOCKED", "pushSnapshot", message);
    }
    if (!(await this.files.write(SNAPSHOTS + this.id, await encodeManifest(manifest), true))) throw taken(this.id);
  }

  /** Gives the marker up. */
  async end(): Promise<void> {
    await this.files.remove(this.marker);
  }
}

/** Runs `work` over all items, at most `count` at the same time. The first failure ends it, when nothing runs any more. */
export async function each<T>(items: Iterable<T>, count: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  let failure: { error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true && failure === undefined; next = rest.next()) {
      await work(next.value).catch((error) => {
        failure ??= { error };
      });
    }
  };
  await Promise.all(Array.from({ length: count }, worker));
  if (failure !== undefined) throw failure.error;
}

async function encodeManifest({ header, digests }: Manifest): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = joined(encodeHeader(header), ...digests.map(bytesOfHex));
  return joined(bytes, await sha256(bytes));
}

async function decodeManifest(bytes: Uint8Array<ArrayBuffer>, id: string, operation: string): Promise<Manifest> {
  const end = bytes.length - DIGEST_SIZE;
  const isWhole = end > 64 && sameBytes(bytes.subarray(end), await sha256(bytes.subarray(0, end)));
  if (isWhole) {
    const size = headerSize(bytes);
    const header = decodeHeader(bytes.subarray(0, size));
    const digests: string[] = [];
    for (let at = size; at < end; at += DIGEST_SIZE) digests.push(hexOf(bytes.subarray(at, at + DIGEST_SIZE)));
    const count = header.spans.reduce((sum, span) => sum + piecesOf(span).length, 0);
    if (digests.length === count && factsOfSuperblock(header.superblock) !== undefined) return { header, digests };
  }
  throw new CairnError("CORRUPT", operation, `${operation}: the manifest of the snapshot ${id} is damaged.`);
}

function nameOf(digest: string): string {
  return `${PIECES}${digest.slice(0, 2)}/${digest}`;
}

function digestOf(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

function taken(id: string): CairnError {
  const message = `pushSnapshot: the remote has a snapshot ${id} already. Choose another id, or delete that one.`;
  return new CairnError("INVALID_ARGUMENT", "pushSnapshot", message);
}

function checkId(id: unknown, operation: string): void {
  if (typeof id === "string" && ID.test(id)) return;
  const message = `${operation}: an id has 1 to 128 letters, digits, dots, hyphens and underscores, and no dot in front.`;
  throw new CairnError("INVALID_ARGUMENT", operation, message);
}
