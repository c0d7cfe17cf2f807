/**
 * The image of a store at one moment: pinned in the core, read from the device piece by piece.
 *
 * No block of it is written again, so it may be read while writing goes on; see `assembly/engine/backup.ts`.
 */
import type { Core } from "../core.ts";
import { CairnError } from "../error.ts";
import { BLOCK_SIZE, POINT_COUNT } from "../layout.ts";
import { invalid } from "../refusals.ts";
import type { Session } from "../session.ts";
import { nextTurn } from "../turn.ts";
import { shrunk } from "../typed-device.ts";
import {
  type BackupHeader,
  bytesOf,
  deviceOffset,
  factsOfSuperblock,
  KIND_CHECKPOINT,
  KIND_COPIES,
  PIECE_BLOCKS,
  type Point,
  pointsAt,
  type Span,
} from "./format.ts";

const ENTRY_SIZE = 24;
const LAYOUT_POINTS = 22;
/** Blocks that a device without asynchronous reads gives between two turns of the event loop. */
const SYNC_BLOCKS = 64;

/** An image that is pinned. `release` it. */
export class Image {
  readonly superblock: Uint8Array<ArrayBuffer>;
  readonly version: number;
  /** Blocks that count, segment by segment. */
  readonly spans: readonly Span[];
  private readonly session: Session;
  private readonly core: Core;
  private readonly segmentBlocks: number;
  /** Of the checkpoint in it, the life of its last segment. */
  private readonly checkpoint: bigint;
  private readonly end = (error: CairnError): Promise<void> => this.stop(error);
  private ended: CairnError | undefined;
  private isReleased = false;
  private reading: Promise<unknown> = Promise.resolve();

  private constructor(session: Session, core: Core, superblock: Uint8Array<ArrayBuffer>, spans: readonly Span[]) {
    this.session = session;
    this.core = core;
    this.superblock = superblock;
    this.spans = spans;
    const facts = factsOfSuperblock(superblock);
    this.segmentBlocks = facts?.segmentBlocks ?? 0;
    this.version = facts?.points[0]?.version ?? 0;
    this.checkpoint = facts?.points[0]?.checkpointGeneration ?? 0n;
    session.backups.add(this.end);
  }

  /** Pins what is there by now, on the device to the last write. `wants` sees the points of earlier ones before, and may throw. */
  static async take(session: Session, wants: (points: Point[]) => void): Promise<Image> {
    const { readOnly } = session.settings;
    if (!readOnly) await session.committer.durable(undefined);
    session.ready("backup");
    const { core, committer } = session;
    const at = core.exports.layout(LAYOUT_POINTS);
    // Its own point will drive out the oldest.
    wants(pointsAt(core.bytes.subarray(at)).slice(0, POINT_COUNT - 1));
    // What came since then, which is little: the image is of one moment.
    if (!readOnly) committer.flushSync("backup");
    const status = session.guard(() => core.exports.backupBegin());
    if (status < 0) throw session.error(status, "backup");
    const superblock = core.bytes.slice(core.superblock, core.superblock + BLOCK_SIZE);
    const spans: Span[] = [];
    for (let next = 0; ; ) {
      const count = session.guard(() => core.exports.backupSegments(next));
      if (count === 0) break;
      for (let entry = core.exchangeOut; entry < core.exchangeOut + count * ENTRY_SIZE; entry += ENTRY_SIZE) {
        const word = entry >> 2;
        spans.push({
          segment: core.words[word] as number,
          kind: core.words[word + 1] as number,
          from: 0,
          to: core.words[word + 2] as number,
          generation: BigInt.asUintN(64, core.integers[(entry + 16) >> 3] as bigint),
        });
      }
      next = (spans.at(-1) as Span).segment + 1;
    }
    return new Image(session, core, superblock, spans);
  }

  /** The header of a backup of this image, in full or behind a base. */
  header(base?: Point): BackupHeader {
    if (base === undefined) return { superblock: this.superblock, spans: this.spans };
    const spans = this.spans.map((span) => ({ ...span, from: this.known(span, base) }));
    return {
      base: { tag: base.tag, version: base.version },
      superblock: this.superblock,
      spans: spans.filter(({ from, to }) => from < to),
    };
  }

  /** How many blocks of a span, from its first on, a backup that left this point holds; whole pieces, unless it is all. */
  known(span: Span, base: Point): number {
    return knownBlocks(span, base, this.checkpoint);
  }

  /**
   * Reads blocks of a span to the start of `target`, and proves them. `CORRUPT`, `DEVICE_READ`, `SNAPSHOT_EXPIRED`,
   * `CLOSED`.
   */
  read(span: Span, from: number, to: number, target: Uint8Array): Promise<void> {
    const read = this.reading.then(() => this.readNow(span, from, to, target));
    this.reading = read.catch(() => undefined);
    return read;
  }

  /** Tells the store's listener how far a backup is. */
  progress(done: number, spans: readonly Span[]): void {
    try {
      this.session.settings.onProgress?.({ phase: "backup", done, total: bytesOf(spans) });
    } catch {
      // A listener's failure is not the store's.
    }
  }

  /** Lets what was read for it alone go. A second call does nothing. */
  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.ended ??= new CairnError("CLOSED", "backup", "backup: it has ended.");
    const { session, core } = this;
    session.backups.delete(this.end);
    if (session.committer.poisoned !== undefined) return;
    session.guard(() => {
      for (const { segment } of this.spans) core.exports.backupUnpin(segment);
    });
  }

  private async stop(error: CairnError): Promise<void> {
    this.ended ??= error;
    await this.reading;
    this.release();
  }

  private async readNow(span: Span, from: number, to: number, target: Uint8Array): Promise<void> {
    const { core, session, segmentBlocks } = this;
    const { device } = core;
    const offset = deviceOffset(segmentBlocks, span.segment, from);
    const bytes = target.subarray(0, (to - from) * BLOCK_SIZE);
    if (this.ended !== undefined) throw this.ended;
    try {
      if (device.readAsync !== undefined) await device.readAsync([{ offset, target: bytes }]);
      else await readInTurns(device, offset, bytes);
    } catch (cause) {
      if (cause instanceof CairnError && cause.code === "DEVICE_SHRUNK") throw session.shrunk(cause);
      if (cause instanceof CairnError) throw cause;
      const message = `backup: the device failed to read. Device offset ${offset}.`;
      throw new CairnError("DEVICE_READ", "backup", message, { cause });
    }
    if (this.ended !== undefined) throw this.ended;
    if (session.committer.poisoned !== undefined) throw session.committer.poisonError();
    const low = Number(span.generation & 0xffff_ffffn);
    const high = Number(span.generation >> 32n);
    for (let at = 0; at < bytes.length; at += core.exchangeSize) {
      const part = bytes.subarray(at, at + core.exchangeSize);
      core.valueArea.set(part);
      const first = (offset + at) / BLOCK_SIZE;
      const status = session.guard(() => core.exports.backupBlocks(first, part.length / BLOCK_SIZE, low, high));
      if (status < 0) throw core.error(status, "backup");
    }
  }
}

function knownBlocks({ generation, kind, to }: Span, base: Point, checkpoint: bigint): number {
  if (kind === KIND_CHECKPOINT) return checkpoint === base.checkpointGeneration ? to : 0;
  if (kind === KIND_COPIES) {
    return generation <= base.generation && generation < base.copiesGeneration ? to : 0;
  }
  if (generation < base.logGeneration) return to;
  if (generation > base.logGeneration) return 0;
  return to <= base.logBlocks ? to : Math.floor(base.logBlocks / PIECE_BLOCKS) * PIECE_BLOCKS;
}

/** Checks the argument `since` and finds its point: the oldest of that version. `VERSION_COMPACTED`. */
export function pointSince(points: readonly Point[], since: number): Point {
  const point = points.findLast(({ version }) => version === since);
  if (point !== undefined) return point;
  const message = `backup: no backup of version ${since} is remembered; the last ${POINT_COUNT - 1} are. Take one without since.`;
  throw new CairnError("VERSION_COMPACTED", "backup", message);
}

/** A version, or `INVALID_ARGUMENT`. */
export function checkSince(since: unknown): void {
  if (since === undefined || (Number.isSafeInteger(since) && (since as number) >= 0)) return;
  throw invalid("backup", "since must be a version: what the version of an earlier backup resolved to.");
}

async function readInTurns(device: Core["device"], offset: number, target: Uint8Array): Promise<void> {
  const size = SYNC_BLOCKS * BLOCK_SIZE;
  for (let at = 0; at < target.length; at += size) {
    const part = target.subarray(at, at + size);
    const count = device.read(offset + at, part);
    if (count < part.length) throw shrunk("backup", offset + at + count);
    await new Promise<void>((resolve) => nextTurn(resolve));
  }
}
