/**
 * The component's own memory, behind the engine's: what is open, its resources, and the arena of the canonical ABI.
 *
 * ```
 *  0x34000000  State
 *      +0x800  return area of exports, 256 bytes
 *      +0x900  return area of WASI calls, 128 bytes
 *     +0x1000  cursors, 1,024 slots
 *     +0x8000  paths and lock files
 *    +0x10000  buckets, 1,024 slots
 *    +0x60000  compare-and-swap handles, 512 slots
 *   +0x200000  arena, to the end of the memory
 *  0x40000000  end of the memory: 1 GiB of address space, of which only what is touched takes memory
 * ```
 *
 * 1. The arena holds the arguments and the results of one call. A call's results are read before the next call's
 *    arguments are placed, so the first allocation after a call starts it anew; nothing is ever given back singly.
 * 2. A call that finds another one under way follows one that the host has abandoned half-way (it threw out of an
 *    import): the store is poisoned.
 */
import { root } from "../root";

export const COMPONENT: usize = 0x34000000;
export const MEMORY_END: usize = 0x40000000;
export const RESULT: usize = COMPONENT + 0x800;
export const WASI_RESULT: usize = COMPONENT + 0x900;
export const CURSORS: usize = COMPONENT + 0x1000;
export const CURSOR_SLOT_SIZE: u32 = 16;
export const CURSOR_COUNT_MAX: u32 = 1024;
/** Path of the store's file, of its lock, and of files beside the lock, relative to their directory. */
export const PATH_SIZE_MAX: u32 = 3072;
export const FILE_PATH: usize = COMPONENT + 0x8000;
export const LOCK_PATH: usize = COMPONENT + 0x9000;
export const BESIDE_PATH: usize = COMPONENT + 0xa000;
/** Text of our lock, at most 512 bytes, and of one that was found. */
export const LOCK_TEXT: usize = COMPONENT + 0xb000;
export const LOCK_SEEN: usize = COMPONENT + 0xc000;
export const LOCK_SEEN_SIZE: u32 = 0x4000;
export const BUCKETS: usize = COMPONENT + 0x10000;
export const BUCKET_SLOT_SIZE: u32 = 272;
export const BUCKET_COUNT_MAX: u32 = 1024;
export const CAS_SLOTS: usize = COMPONENT + 0x60000;
export const CAS_SLOT_SIZE: u32 = 2080;
export const CAS_COUNT_MAX: u32 = 512;
const ARENA: usize = COMPONENT + 0x200000;

if (BUCKETS + BUCKET_SLOT_SIZE * BUCKET_COUNT_MAX > CAS_SLOTS) ERROR("buckets overlap");
if (CAS_SLOTS + CAS_SLOT_SIZE * CAS_COUNT_MAX > ARENA) ERROR("compare-and-swap handles overlap");

@unmanaged
export class State {
  /** Number of the open store among those that this instance opened, or 0. Handles of earlier ones are void. */
  serial: u32 = 0;
  openCount: u32 = 0;
  readOnly: u32 = 0;
  /** See `Durability`. */
  durability: u32 = 0;
  /** Whether nothing more is accepted. */
  poisoned: u32 = 0;
  /** Whether a call is under way. */
  entered: u32 = 0;

  // Handles of WASI, 0 when there is none; a handle is never 0
  folder: u32 = 0;
  file: u32 = 0;
  lock: u32 = 0;

  filePathSize: u32 = 0;
  lockPathSize: u32 = 0;
  lockTextSize: u32 = 0;
  /** When the lock's heartbeat was last shown, in milliseconds of the forward clock. */
  beatMs: u64 = 0;
  tokenLow: u64 = 0;
  tokenHigh: u64 = 0;

  arenaTop: u32 = 0;
  /** The next allocation starts the arena anew. */
  arenaStale: u32 = 0;

  /** A text that says more than the code of the call's failure, or 0. */
  detail: u32 = 0;
  /** The host refused access to the file. */
  denied: u32 = 0;
}

if (offsetof<State>() > 0x800) ERROR("State outgrew its place");

export namespace Durability {
  export const INTERVAL: u32 = 0;
  export const SYNC: u32 = 1;
  export const MANUAL: u32 = 2;
}

// @ts-ignore: top-level constants of unmanaged views are how state is reached
export const state: State = changetype<State>(COMPONENT);

/** Memory for what the host passes in, and for what a read of the device returns: the frame that it is meant for. */
export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  if (root.wasiReadTarget) return root.wasiReadTarget;
  arenaFresh();
  if (old && old + oldSize == <usize>state.arenaTop) {
    if (size > MEMORY_END - old) unreachable();
    state.arenaTop = <u32>(old + size);
    return old;
  }
  const taken = arenaTake(<u32>size, <u32>align);
  // The canonical ABI knows no other answer to arguments that do not fit.
  if (!taken) unreachable();
  if (old) memory.copy(taken, old, min(oldSize, size));
  return taken;
}

/** `size` bytes that last until the call's results are read, or 0 when the arena is full. `align` is a power of two. */
export function arenaTake(size: u32, align: u32): usize {
  const start = arenaAt(align);
  if (<usize>size > MEMORY_END - start) return 0;
  state.arenaTop = <u32>start + size;
  return start;
}

/** Where the next allocation would be. */
export function arenaAt(align: u32): usize {
  return (<usize>state.arenaTop + align - 1) & ~(<usize>align - 1);
}

/** Bytes that are left for the call. */
export function arenaRoom(): u32 {
  return <u32>(MEMORY_END - arenaAt(8));
}

function arenaFresh(): void {
  if (state.arenaTop && !state.arenaStale) return;
  state.arenaTop = <u32>ARENA;
  state.arenaStale = 0;
}

/** Begins a call. */
export function enter(): void {
  arenaFresh();
  if (state.entered) {
    state.poisoned = 1;
    root.wasiReadTarget = 0;
  }
  state.entered = 1;
  state.detail = 0;
  state.denied = 0;
}

/** Ends a call whose results are in RESULT and in the arena: where they are. */
export function leave(): usize {
  state.entered = 0;
  state.arenaStale = 1;
  return RESULT;
}

/** A free slot of a table, taken, or 0. A slot's first word says whether it is taken. O(slots). */
export function slotTake(table: usize, slotSize: u32, count: u32): usize {
  for (let i: u32 = 0; i < count; i++) {
    const slot = table + <usize>(i * slotSize);
    if (load<u32>(slot)) continue;
    store<u32>(slot, 1);
    return slot;
  }
  return 0;
}

/** Gives a slot back. */
export function slotGive(slot: usize): void {
  store<u32>(slot, 0);
}
