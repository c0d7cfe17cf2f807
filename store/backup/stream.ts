/** A backup as a stream of bytes, made as its reader asks for it; see format.ts. */
import type { CairnError } from "../error.ts";
import { BLOCK_SIZE } from "../layout.ts";
import { invalid, isPlain } from "../refusals.ts";
import type { Session } from "../session.ts";
import { DIGEST_SIZE, encodeHeader, encodeTrailer, type Point, piecesOf, type Span, sha256 } from "./format.ts";
import { checkSince, Image, pointSince } from "./image.ts";
import { pulledStream } from "./pulled-stream.ts";

/** Options of `backup`. */
export interface BackupOptions {
  /** The version of an earlier backup: what that one holds is left out. Default: everything is in it. */
  since?: number;
  /** Ends the backup when it aborts: the stream errors with its reason. */
  signal?: AbortSignal;
}

/** A backup on its way. */
export interface BackupStream extends ReadableStream<Uint8Array> {
  /** The version that it holds, known once it has begun: what a later backup's `since` is. Rejects when it cannot begin. */
  readonly version: Promise<number>;
}

/** Begins a backup. `INVALID_ARGUMENT`; all other errors are the stream's. */
export function backupStream(session: Session, options: BackupOptions = {}): BackupStream {
  checkBackupOptions(options);
  const { since, signal } = options;
  let base: Point | undefined;
  const taken = Image.take(session, (points) => {
    signal?.throwIfAborted();
    if (since !== undefined) base = pointSince(points, since);
  });
  const version = taken.then((image) => image.version);
  version.catch(() => undefined);
  const begun = taken.then((image) => {
    const parts = partsOf(image, base);
    return { next: async () => (await parts.next()).value, end: () => image.release() };
  });
  return Object.assign(pulledStream(begun, signal), { version });
}

/** Pieces that are read and hashed before they are asked for. */
const AHEAD_COUNT = 3;

/** The bytes of a backup: the header, each piece with its digest, the trailer. */
async function* partsOf(image: Image, base: Point | undefined): AsyncGenerator<Uint8Array, undefined> {
  const header = image.header(base);
  const start = encodeHeader(header);
  const digests: Uint8Array[] = [await sha256(start)];
  yield joined(start, digests[0] as Uint8Array);
  const pieces = header.spans.flatMap((span) => piecesOf(span).map((piece) => ({ span, ...piece })));
  let done = 0;
  const ahead: ReturnType<typeof readPiece>[] = [];
  for (let i = 0, next = 0; i < pieces.length; i++) {
    for (; next < pieces.length && next <= i + AHEAD_COUNT; next++) {
      const piece = readPiece(image, pieces[next] as (typeof pieces)[number]);
      // Who waits for it learns of a failure; nobody may.
      piece.catch(() => undefined);
      ahead.push(piece);
    }
    const { bytes, digest } = await (ahead.shift() as ReturnType<typeof readPiece>);
    digests.push(digest);
    done += bytes.length - DIGEST_SIZE;
    image.progress(done, header.spans);
    yield bytes;
  }
  yield encodeTrailer(await sha256(joined(...digests)));
  return undefined;
}

async function readPiece(
  image: Image,
  { span, from, to }: { span: Span; from: number; to: number },
): Promise<{ bytes: Uint8Array<ArrayBuffer>; digest: Uint8Array }> {
  const size = (to - from) * BLOCK_SIZE;
  const bytes = new Uint8Array(size + DIGEST_SIZE);
  await image.read(span, from, to, bytes);
  const digest = await sha256(bytes.subarray(0, size));
  bytes.set(digest, size);
  return { bytes, digest };
}

/** Stretches of bytes, one behind the other. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Checks the options of `backup`. `INVALID_ARGUMENT`. */
export function checkBackupOptions(options: unknown): asserts options is BackupOptions {
  if (!isPlain(options)) throw refusal("options must be an object.");
  for (const [name, value] of Object.entries(options)) {
    if (name !== "since" && name !== "signal") throw refusal(`there is no option ${name}.`);
    if (name === "signal" && value !== undefined && typeof value?.addEventListener !== "function") {
      throw refusal("signal must be an AbortSignal.");
    }
  }
  checkSince((options as BackupOptions).since);
}

function refusal(message: string): CairnError {
  return invalid("backup", message);
}
