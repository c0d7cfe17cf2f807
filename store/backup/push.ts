/** Pushing a snapshot: only what a remote lacks is read and sent. */

import { CairnError } from "../error.ts";
import { BLOCK_SIZE } from "../layout.ts";
import { isPlain } from "../refusals.ts";
import type { Session } from "../session.ts";
import { bytesOf, factsOfSuperblock, hexOf, type Point, piecesOf, pointOf, type Span, sha256 } from "./format.ts";
import { Image } from "./image.ts";
import { each, type Manifest, type Push, Remote } from "./remote.ts";

/** Options of `pushSnapshot`. */
export interface PushOptions {
  /** Pieces of at most 1 MiB that are sent at the same time. Default 4. */
  concurrency?: number;
  /** Ends the push: it rejects with the signal's reason, and the remote keeps what it had. */
  signal?: AbortSignal;
}

/** What a push did. */
export interface PushReport {
  /** The version that the snapshot holds. */
  version: number;
  /** Bytes of blocks in it. */
  bytes: number;
  /** Of these, bytes that were read from the store. */
  bytesRead: number;
  /** Of these, bytes that the remote lacked and was sent. */
  bytesSent: number;
}

const CONCURRENCY = 4;

/** See `Store.pushSnapshot`. */
export async function pushSnapshot(
  session: Session,
  remote: Remote,
  id: string,
  options: PushOptions = {},
): Promise<PushReport> {
  const { concurrency = CONCURRENCY, signal } = checkOptions(remote, options);
  signal?.throwIfAborted();
  const push = await remote.begin(id);
  try {
    let points: Point[] = [];
    const image = await Image.take(session, (earlier) => {
      points = earlier;
    });
    try {
      const base = await ancestor(remote, image, points);
      return await send(image, push, base, concurrency, signal);
    } finally {
      image.release();
    }
  } finally {
    // What is left of one that failed stays until pieces are collected.
    await push.end().catch(() => undefined);
  }
}

/** The newest snapshot of the remote that this store has left a point at: what it holds need not be read again. */
async function ancestor(
  remote: Remote,
  image: Image,
  points: readonly Point[],
): Promise<{ manifest: Manifest; point: Point } | undefined> {
  const storeId = factsOfSuperblock(image.superblock)?.storeId;
  for await (const manifest of remote.manifests()) {
    if (factsOfSuperblock(manifest.header.superblock)?.storeId !== storeId) continue;
    const { tag } = pointOf(manifest.header);
    const point = points.find((one) => one.tag === tag);
    if (point !== undefined) return { manifest, point };
  }
  return undefined;
}

async function send(
  image: Image,
  push: Push,
  base: { manifest: Manifest; point: Point } | undefined,
  concurrency: number,
  signal: AbortSignal | undefined,
): Promise<PushReport> {
  const header = image.header();
  const pieces = header.spans.flatMap((span) => piecesOf(span).map((piece) => ({ span, ...piece })));
  const known = base === undefined ? new Map<string, string>() : digestsOf(base.manifest);
  const report: PushReport = { version: image.version, bytes: bytesOf(header.spans), bytesRead: 0, bytesSent: 0 };
  const digests: string[] = new Array(pieces.length);
  let done = 0;
  await each(pieces.keys(), concurrency, async (i) => {
    const { span, from, to } = pieces[i] as (typeof pieces)[number];
    signal?.throwIfAborted();
    const size = (to - from) * BLOCK_SIZE;
    const sent =
      base === undefined || image.known(span, base.point) < to ? undefined : known.get(keyOf(span, from, to));
    if (sent !== undefined) {
      digests[i] = sent;
    } else {
      const bytes = new Uint8Array(size);
      await image.read(span, from, to, bytes);
      const digest = hexOf(await sha256(bytes));
      report.bytesRead += size;
      if (await push.send(digest, bytes)) report.bytesSent += size;
      digests[i] = digest;
    }
    done += size;
    image.progress(done, header.spans);
  });
  signal?.throwIfAborted();
  await push.finish({ header, digests });
  return report;
}

/** The digests of a manifest's pieces, by segment, life and blocks. */
function digestsOf({ header, digests }: Manifest): Map<string, string> {
  const known = new Map<string, string>();
  let i = 0;
  for (const span of header.spans) {
    for (const { from, to } of piecesOf(span)) known.set(keyOf(span, from, to), digests[i++] as string);
  }
  return known;
}

function keyOf({ segment, generation }: Span, from: number, to: number): string {
  return `${segment} ${generation} ${from} ${to}`;
}

function checkOptions(remote: unknown, options: PushOptions): PushOptions {
  const refuse = (message: string): CairnError =>
    new CairnError("INVALID_ARGUMENT", "pushSnapshot", `pushSnapshot: ${message}`);
  if (!(remote instanceof Remote)) throw refuse("the remote must be one of folderRemote or s3Remote.");
  if (!isPlain(options)) throw refuse("options must be an object.");
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (name === "concurrency") {
      if (!Number.isInteger(value) || value < 1 || value > 64) throw refuse("concurrency must be from 1 to 64.");
    } else if (name !== "signal") throw refuse(`there is no option ${name}.`);
    else if (typeof value.addEventListener !== "function") throw refuse("signal must be an AbortSignal.");
  }
  return options;
}
