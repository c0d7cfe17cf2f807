/**
 * Backups that are taken while other operations run. Each is restored when the run is over, the one that it adds to before it, and
 * must hold a state between what was written when it was asked for and what was when its last byte came.
 */
import { IncomingBackup, Restoration } from "../../store/backup/restore.ts";
import type { BackupStream } from "../../store/backup/stream.ts";
import type { BlockDevice, DevicePiece } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { turnOver } from "./drawing.ts";
import { blankImage, type Image, PAGE_SIZE, Page, readPages } from "./pages.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { Timeline } from "./timeline.ts";
import { Violation } from "./violation.ts";

const BASE_SHARE = 0.5;

/** A backup that was taken, and what it may hold. */
export interface TakenBackup {
  chunks: readonly Uint8Array[];
  version: number;
  /** What it adds to. */
  base: TakenBackup | undefined;
  timeline: Timeline;
  least: number;
  most: number;
  life: number;
}

/** A backup that is on its way: its reader takes its time. */
export interface OpenBackup {
  reader: ReadableStreamDefaultReader<Uint8Array>;
  /** What it is when its last byte has come, but for that. */
  taken: Omit<TakenBackup, "version" | "most" | "chunks">;
  version: Promise<number>;
  chunks: Uint8Array[];
}

export const BACKUP_OPERATIONS = {
  /** Begins a backup, of everything or of what came behind an earlier one; one that is on its way is read to its end. */
  async backup(session: Session, random: Random): Promise<void> {
    if (session.backup !== undefined) {
      await read(session, Number.POSITIVE_INFINITY);
      return;
    }
    await turnOver(session, random);
    if (session.poisoned) return;
    const earlier = session.backups.filter(({ life }) => life === session.life);
    const base = earlier.length > 0 && random.chance(BASE_SHARE) ? random.pick(earlier) : undefined;
    const { issued: least, timeline, life } = session;
    let stream: BackupStream;
    try {
      stream = session.store.backup(base === undefined ? {} : { since: base.version });
    } catch (error) {
      // A store that failed since the last call tells it here.
      session.refused(error);
      return;
    }
    const taken = { base, timeline, least, life };
    session.backup = { reader: stream.getReader(), version: stream.version, taken, chunks: [] };
    // What it pins is what there was by then.
    await read(session, 1);
    await turnOver(session, random);
  },

  async readBackup(session: Session, random: Random): Promise<void> {
    await read(session, random.between(1, 3));
  },
};

/** Reads so many chunks of the backup that is on its way. */
async function read(session: Session, count: number): Promise<void> {
  const { backup, era } = session;
  if (backup === undefined) return;
  const { reader, taken, chunks } = backup;
  try {
    for (let n = 0; n < count; n++) {
      const { done, value } = await session.clock.wait(reader.read(), () => new Violation("a backup never ends"));
      if (era !== session.era) return;
      if (!done) {
        chunks.push(value);
        continue;
      }
      session.backup = undefined;
      session.backups.push({ ...taken, chunks, version: await backup.version, most: session.issued });
      session.coverage.backups++;
      return;
    }
  } catch (error) {
    session.backup = undefined;
    // A store remembers only so many.
    const isUnknown = error instanceof CairnError && error.code === "VERSION_COMPACTED" && taken.base !== undefined;
    if (!isUnknown) session.refused(error);
  }
}

/** What a device of so many bytes holds that a backup was restored to; 0 for one that grows. Throws what restoring throws. */
export async function restoredImage(backup: TakenBackup, size: number): Promise<Image> {
  const chain: TakenBackup[] = [];
  for (let at: TakenBackup | undefined = backup; at !== undefined; at = at.base) chain.unshift(at);
  const device = new RestoredDevice(size);
  const restoration = new Restoration(device);
  for (const { chunks } of chain) {
    const incoming = await IncomingBackup.begin(chunks);
    await restoration.add(incoming);
    await incoming.stop();
  }
  await restoration.finish();
  return device.image;
}

/** A device that a backup is restored to: nothing goes wrong with it. */
class RestoredDevice implements BlockDevice {
  readonly kind = "memory";
  readonly growable: boolean;
  readonly image: Image;

  constructor(size: number) {
    this.growable = size === 0;
    this.image = blankImage(size);
  }

  size(): number {
    return this.image.size;
  }

  read(offset: number, target: Uint8Array): number {
    return readPages(this.image, offset, target, 0, target.length);
  }

  write(offset: number, source: Uint8Array): number {
    for (let from = 0; from < source.length; from += PAGE_SIZE) {
      this.image.pages[(offset + from) / PAGE_SIZE] = new Page(source.slice(from, from + PAGE_SIZE));
    }
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    for (const { offset, source } of pieces) this.write(offset, source);
  }

  sync(): void {}

  async syncAsync(): Promise<void> {}

  resize(size: number): void {
    this.image.size = size;
    if (this.image.pages.length > size / PAGE_SIZE) this.image.pages.length = size / PAGE_SIZE;
  }

  close(): void {}
}
