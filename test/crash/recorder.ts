/**
 * A device in memory that records every write, sync and change of size, and the images that a crash could have left.
 *
 * The cache of a real device is the set of writes since the last sync that had completed when it was issued. A crash
 * keeps of it whatever it likes: each 512-byte sector of a pending write independently, whole writes, a prefix, or
 * nothing; and it may garble a sector that was being changed. What a completed sync covered is always kept, also where
 * the same bytes are written again, as a synchronous flush does with a group in flight. Changes of size wait for a sync as
 * well; they happen in their order, so that a crash keeps the first few of them, and writes beyond the size are lost.
 */
import type { BlockDevice, DevicePiece } from "../../store/device.ts";

export type DeviceEvent =
  | { type: "write"; offset: number; bytes: Uint8Array; isAsync: boolean }
  | { type: "sync"; covers: number }
  | { type: "resize"; size: number }
  | { type: "mark"; mark: unknown };

const SECTOR_SIZE = 512;

/** A seeded generator of numbers in [0, 1). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Records what a store does to its device. */
export class RecordingDevice implements BlockDevice {
  readonly events: DeviceEvent[] = [];
  readonly growable: boolean;
  readonly kind = "memory" as const;
  private image: Uint8Array;
  private readonly random: () => number;

  /** Starts from `image`, which it copies. Asynchronous writes complete in an order that `random` decides. */
  constructor(image: Uint8Array, random: () => number, growable = true) {
    this.image = image.slice();
    this.random = random;
    this.growable = growable;
  }

  size(): number {
    return this.image.length;
  }

  read(offset: number, target: Uint8Array): number {
    const part = this.image.subarray(offset, offset + target.length);
    target.set(part);
    return part.length;
  }

  write(offset: number, source: Uint8Array): number {
    return this.put(offset, source, false);
  }

  private put(offset: number, source: Uint8Array, isAsync: boolean): number {
    if (offset + source.length > this.image.length) throw new RangeError("write beyond the end of the device");
    if (offset % 4096 !== 0 || source.length % 4096 !== 0) throw new RangeError("write is not made of blocks");
    this.image.set(source, offset);
    this.events.push({ type: "write", offset, bytes: source.slice(), isAsync });
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    const waiting = [...pieces];
    while (waiting.length > 0) {
      const [piece] = waiting.splice(Math.floor(this.random() * waiting.length), 1) as [DevicePiece];
      await this.turns();
      // A large write may reach the device in parts.
      const half = this.random() < 0.3 && piece.source.length > 4096 ? 4096 : piece.source.length;
      this.put(piece.offset, piece.source.subarray(0, half), true);
      if (half < piece.source.length) {
        await this.turns();
        this.put(piece.offset + half, piece.source.subarray(half), true);
      }
    }
  }

  /** Writes under way at the same time, of a group and of copies, get in between each other. */
  private async turns(): Promise<void> {
    for (let turns = this.random() < 0.2 ? 12 : 1; turns > 0; turns--) await Promise.resolve();
  }

  sync(): void {
    this.events.push({ type: "sync", covers: this.events.length });
  }

  async syncAsync(): Promise<void> {
    const covers = this.events.length;
    await Promise.resolve();
    await Promise.resolve();
    this.events.push({ type: "sync", covers });
  }

  resize(size: number): void {
    const next = new Uint8Array(size);
    next.set(this.image.subarray(0, size));
    this.image = next;
    this.events.push({ type: "resize", size });
  }

  close(): void {}

  /** Puts a remark of the test's own among the events. */
  mark(mark: unknown): void {
    this.events.push({ type: "mark", mark });
  }

  /** What the device holds now. */
  snapshot(): Uint8Array {
    return this.image.slice();
  }
}

/** Whether a write gives a sector other bytes than it has. */
function changes(image: Uint8Array, at: number, bytes: Uint8Array, from: number): boolean {
  for (let i = 0; i < SECTOR_SIZE; i++) if (image[at + i] !== bytes[from + i]) return true;
  return false;
}

/** An image with another size: cut off, or with zeros behind it. */
function sized(image: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(size);
  next.set(image.subarray(0, size));
  return next;
}

/** Writes what of `bytes` lies within the image. */
function put(image: Uint8Array, offset: number, bytes: Uint8Array): void {
  if (offset < image.length) image.set(bytes.subarray(0, image.length - offset), offset);
}

/** How a crash treats what was not synced. */
export type CrashMode = "all" | "none" | "sectors" | "writes" | "reverse" | "garble";
export const CRASH_MODES: readonly CrashMode[] = ["all", "none", "sectors", "writes", "reverse", "garble"];

/** Builds the images that crashes after any number of events could have left, from the first event to the last. */
export class CrashImages {
  private readonly events: readonly DeviceEvent[];
  /** The image with everything up to `position` that is certain to be there. */
  private stable: Uint8Array;
  private pending: { index: number; offset: number; bytes: Uint8Array }[] = [];
  private resizes: { index: number; size: number }[] = [];
  private position = 0;

  constructor(image: Uint8Array, events: readonly DeviceEvent[]) {
    this.stable = image.slice();
    this.events = events;
  }

  /** Goes on to after event `position - 1`. Only forwards. */
  advance(position: number): void {
    for (; this.position < position; this.position++) {
      const event = this.events[this.position] as DeviceEvent;
      if (event.type === "write") {
        this.pending.push({ index: this.position, offset: event.offset, bytes: event.bytes });
      } else if (event.type === "resize") {
        this.resizes.push({ index: this.position, size: event.size });
      } else if (event.type === "sync") {
        const kept = (index: number): boolean => index < event.covers;
        const changes = [...this.pending, ...this.resizes].filter(({ index }) => kept(index));
        for (const change of changes.sort((a, b) => a.index - b.index)) {
          if ("size" in change) this.stable = sized(this.stable, change.size);
          else put(this.stable, change.offset, change.bytes);
        }
        this.pending = this.pending.filter(({ index }) => !kept(index));
        this.resizes = this.resizes.filter(({ index }) => !kept(index));
      }
    }
  }

  /** One image that a crash now could leave. */
  image(mode: CrashMode, random: () => number): Uint8Array {
    if (mode === "none") return this.stable.slice();
    // What a cut takes away is gone whatever else survives; where it does not happen, the old bytes are there.
    const happened = mode === "all" ? this.resizes.length : Math.floor(random() * (this.resizes.length + 1));
    let image = this.stable.slice();
    for (const { size } of this.resizes.slice(0, happened)) image = sized(image, size);
    const survival = random();
    const pending = mode === "reverse" ? [...this.pending].reverse() : this.pending;
    for (const { offset, bytes } of pending) {
      if (mode === "all" || mode === "reverse") {
        put(image, offset, bytes);
        if (mode === "reverse" && random() < 0.3) break;
        continue;
      }
      if (mode === "writes") {
        if (random() < survival) put(image, offset, bytes);
        continue;
      }
      const garbled = mode === "garble" ? Math.floor((random() * bytes.length) / SECTOR_SIZE) : -1;
      for (let sector = 0; sector * SECTOR_SIZE < bytes.length; sector++) {
        const from = sector * SECTOR_SIZE;
        if (offset + from >= image.length) break;
        if (sector === garbled && changes(image, offset + from, bytes, from)) {
          for (let i = 0; i < SECTOR_SIZE; i++) image[offset + from + i] = Math.floor(random() * 256);
        } else if (random() < survival) {
          image.set(bytes.subarray(from, from + SECTOR_SIZE), offset + from);
        }
      }
    }
    return image;
  }
}
