/** What a host hands to the store: an open device, and how it is given up. */
import type { BlockDevice } from "../store/device.ts";

/** What `open` was asked for, as far as it concerns the target. */
export interface TargetOptions {
  /** Whether a missing file is created. */
  create: boolean;
  readOnly: boolean;
  /** Whether the target may be formatted though it is not blank: the store's decision, once the device is open. */
  format: boolean;
  /** Whether a `readOnly` opening takes the lock all the same, so that nobody writes meanwhile. Default `false`. */
  locks?: boolean;
}

/** An open target. */
export interface Target {
  device: BlockDevice;
  /** Whether the file did not exist before. */
  created: boolean;
  /** Whether something follows the last whole block of the file: it is not blank then, whatever the device shows. */
  hasTail: boolean;
  /** Whether its former holder was only judged dead, from a heartbeat that stayed away, and may still write. */
  predecessorAlive?: boolean;
  /** The store is open: who takes over from here on need not think of that former holder. */
  settled?(): void;
  /** Closes the device and gives up the lock. May be called twice. */
  release(): void;
  /** `release`, and removes the file when this opening created it: for a store that could not be formatted. */
  discard(): void | Promise<void>;
}

/** What a host with files offers to a repair. */
export interface FileExchange {
  /** The path of a target, through symbolic links where it is there. */
  resolve(target: string | URL): string;
  exists(path: string): boolean;
  /**
   * Puts the file at `replacement` in the place of the one at `path`, at once and durably. With `kept`, the old file has
   * that name afterwards. At every instant there is a file at `path`, unless the file system has no hard links.
   */
  replace(path: string, replacement: string, kept: string | undefined): Promise<void>;
  remove(path: string): void;
}

/** What a host with files offers to a restore. */
export interface FileSwap {
  /** The path of a target, through symbolic links where it is there. */
  resolve(target: string | URL): string;
  /** Removes a file, if it is there. */
  remove(path: string): void | Promise<void>;
  /**
   * Puts the file at `replacement`, which is closed, in the place of the one at `path`, at once and durably. `release` gives
   * up the one at `path`, where that must come first.
   */
  replace(path: string, replacement: string, release: () => void): Promise<void>;
}
