/**
 * Backups that are taken while other operations run. Each is restored when the run is over, the one that it adds to before it, and
 * must hold a state between what was written when it was asked for and what was when its last byte came.
 */
import { IncomingBackup, Restoration } from "../../store/backup/restore.ts";
import type { BackupStream } from "../../store/backup/stream.ts";
import type { BlockDevice, DevicePiece } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { blankImage, type Image, PAGE_SIZE, Page, readPages } from "./pages.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { Timeline } from "./timeline.ts";

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

export const BACKUP_OPERATIONS = {
  /** Takes a backup, of everything or of what came behind an earlier one; its reader takes its time. */
  backup(session: Session, random: Random): void {
    const earlier = session.backups.filter(({ life }) => life === session.life);
    const base = earlier.length > 0 && random.chance(BASE_SHARE) ? random.pick(earlier) : undefined;
    const { issued: least, timeline, life } = session;
    const pauseMs = random.pick([0, 0.1, 5]);
    const stream = session.store.backup(base === undefined ? {} : { since: base.version });
    session.expect(collect(stream, pauseMs, base), (taken) => {
      if (taken === undefined) return;
      session.backups.push({ ...taken, base, timeline, least, most: session.issued, life });
      session.coverage.backups++;
    });
  },
};

async function collect(stream: BackupStream, pauseMs: number, base: TakenBackup | undefined) {
  const chunks: Uint8Array[] = [];
  try {
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      if (pauseMs > 0) await new Promise<void>((resolve) => setTimeout(resolve, pauseMs));
    }
    return { chunks, version: await stream.version };
  } catch (error) {
    // A store remembers only so many.
    if (base !== undefined && error instanceof CairnError && error.code === "VERSION_COMPACTED") return undefined;
    throw error;
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
