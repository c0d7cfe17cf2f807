/**
 * Snapshots and the older versions that they need.
 *
 * A snapshot is a sequence: it sees, of each key, the newest version at or below it. Open snapshots form a list,
 * oldest first. When a write replaces a version that some snapshot sees, the version is hung off its node and entered
 * at the end of one queue; as replacing sequences only grow, the queue is freed from its front, up to the oldest open
 * snapshot. So what the past costs is what changed since the oldest snapshot. What had expired when a snapshot was
 * taken it does not see, and nothing else expires for it.
 *
 * Invariants: (1) a node's chain goes from newer to older; (2) in the queue's order the first version of a node is the
 * last of its chain; (3) a node flagged DELETED has a chain.
 */
import { copyWords } from "../bytes/compare";
import { extentTableGive } from "../index/extent-table";
import { hashFind, hashRemove } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import {
  identityOf,
  KeyNode,
  NodeFlags,
  placeOf,
  VERSION_HEADER_SIZE,
  Version,
  wordsOf,
  wordsSizeOf,
} from "../index/key-node";
import { treeRemove } from "../index/ordered-index";
import { slabClassOf, slabClassSize, slabGive, slabTake } from "../memory/slab";
import { Attention, root } from "../root";
import { expiredBy, MAYBE_HIDDEN, snapshotTimeMs } from "./expiry";
import { recordsDead } from "./live";

/** Versions freed in one step. */
const STEP: u32 = 64;

@unmanaged
export class Snapshot {
  sequence: u64;
  /** The time by which it judges what has expired. */
  timeMs: u64;
  next: u32;
  previous: u32;
}

/** Enters a snapshot of the present. */
export function snapshotOpen(snapshot: Snapshot): void {
  snapshot.sequence = root.sequence;
  snapshot.timeMs = snapshotTimeMs();
  snapshot.next = 0;
  snapshot.previous = root.snapshotNewest;
  if (root.snapshotNewest) changetype<Snapshot>(<usize>root.snapshotNewest).next = <u32>changetype<usize>(snapshot);
  else root.snapshotOldest = <u32>changetype<usize>(snapshot);
  root.snapshotNewest = <u32>changetype<usize>(snapshot);
  root.snapshotCount++;
  root.snapshotSequence = snapshot.sequence;
}

/** Enters a snapshot of what another one, which is open, sees. */
export function snapshotJoin(snapshot: Snapshot, other: Snapshot): void {
  snapshot.sequence = other.sequence;
  snapshot.timeMs = other.timeMs;
  snapshot.previous = <u32>changetype<usize>(other);
  snapshot.next = other.next;
  if (other.next) changetype<Snapshot>(<usize>other.next).previous = <u32>changetype<usize>(snapshot);
  else root.snapshotNewest = <u32>changetype<usize>(snapshot);
  other.next = <u32>changetype<usize>(snapshot);
  root.snapshotCount++;
}

/** Takes a snapshot out of the list and frees a first step of what only it needed. */
export function snapshotClose(snapshot: Snapshot): void {
  if (snapshot.previous) changetype<Snapshot>(<usize>snapshot.previous).next = snapshot.next;
  else root.snapshotOldest = snapshot.next;
  if (snapshot.next) changetype<Snapshot>(<usize>snapshot.next).previous = snapshot.previous;
  else root.snapshotNewest = snapshot.previous;
  root.snapshotCount--;
  root.snapshotSequence = root.snapshotNewest ? changetype<Snapshot>(<usize>root.snapshotNewest).sequence : 0;
  versionsFree();
}

/** Whether a snapshot sees what a node holds now. */
export function snapshotSees(node: KeyNode): bool {
  return root.snapshotCount != 0 && node.sequence <= root.snapshotSequence;
}

/** Memory that keeping a node's present version would take; 0 means it cannot be had. */
export function versionTake(node: KeyNode): usize {
  return slabTake(slabClassOf(VERSION_HEADER_SIZE + versionBodySize(node)));
}

/** Moves what a node holds now to a version of its own, replaced by `sequence`. An extent table moves with it. */
export function versionKeep(node: KeyNode, memory: usize, sequence: u64): void {
  const version = changetype<Version>(memory);
  const flags = node.flags;
  version.place = placeOf(node.address, 0, flags);
  version.identity = identityOf(node.sequence, node.keySize);
  version.sizeWord = node.sizeWord;
  version.older = node.older;
  version.newer = <u32>changetype<usize>(node);
  version.newerIsNode = 1;
  version.queueNext = 0;
  version.replacedBy = sequence;
  version.reserved = 0;
  const words = wordsSizeOf(flags);
  if (words) copyWords(memory + VERSION_HEADER_SIZE + valueSizeInNode(node), wordsOf(node, node.body), words);
  if (flags & NodeFlags.INLINE) copyWords(memory + VERSION_HEADER_SIZE, node.body, node.valueSize);
  else if (valueSizeInNode(node)) store<u64>(memory + VERSION_HEADER_SIZE, load<u64>(node.body));
  if (version.older) {
    const older = changetype<Version>(<usize>version.older);
    older.newer = <u32>memory;
    older.newerIsNode = 0;
  }
  node.older = <u32>memory;
  if (root.versionNewest) changetype<Version>(<usize>root.versionNewest).queueNext = <u32>memory;
  else root.versionOldest = <u32>memory;
  root.versionNewest = <u32>memory;
  root.versionCount++;
}

/** Tells a node's first version that the node has moved. */
export function versionsFollow(node: KeyNode): void {
  if (!node.older) return;
  changetype<Version>(<usize>node.older).newer = <u32>changetype<usize>(node);
}

/** The version of a node that a snapshot sees, as something to read (a node or a version), or 0. */
export function versionAt(node: KeyNode, snapshot: Snapshot): usize {
  const sequence = snapshot.sequence;
  if (node.sequence <= sequence) {
    const flags = node.flags;
    if (!(flags & MAYBE_HIDDEN)) return changetype<usize>(node);
    return flags & NodeFlags.DELETED || expiredBy(node, node.body, snapshot.timeMs) ? 0 : changetype<usize>(node);
  }
  let at: usize = node.older;
  while (at) {
    const version = changetype<Version>(at);
    if ((version.identity & 0xffffffffffff) <= sequence) {
      const shown = changetype<KeyNode>(at);
      return shown.flags & NodeFlags.DELETED || expiredBy(shown, at + VERSION_HEADER_SIZE, snapshot.timeMs) ? 0 : at;
    }
    at = version.older;
  }
  return 0;
}

/** Frees up to a step's worth of versions that no snapshot sees, and nodes that lived only for them. */
export function versionsFree(): void {
  const oldest = root.snapshotOldest ? changetype<Snapshot>(<usize>root.snapshotOldest).sequence : root.sequence;
  for (let i: u32 = 0; i < STEP; i++) {
    const at = <usize>root.versionOldest;
    if (!at) break;
    const version = changetype<Version>(at);
    if (version.replacedBy > oldest) break;
    root.versionOldest = version.queueNext;
    if (!root.versionOldest) root.versionNewest = 0;
    root.versionCount--;
    if (version.newerIsNode) {
      const node = changetype<KeyNode>(<usize>version.newer);
      node.older = 0;
      if (node.flags & NodeFlags.DELETED) nodeForget(node);
    } else {
      changetype<Version>(<usize>version.newer).older = 0;
    }
    const flags = changetype<KeyNode>(at).flags;
    if (!(flags & NodeFlags.DELETED))
      recordsDead(changetype<KeyNode>(at), changetype<KeyNode>(at).keySize, at + VERSION_HEADER_SIZE);
    if (flags & NodeFlags.EXTENTS) {
      extentTableGive(<usize>load<u32>(at + VERSION_HEADER_SIZE));
    }
    slabGive(at);
  }
  const left = root.versionOldest;
  if (left && changetype<Version>(<usize>left).replacedBy <= oldest) root.attention |= Attention.VERSIONS_DUE;
  else root.attention &= ~Attention.VERSIONS_DUE;
}

/** Takes a node out of both indexes and gives its memory back. */
export function nodeForget(node: KeyNode): void {
  const slot = hashFind(node.key, node.keySize, keyHash(node.key, node.keySize, root.hashSeed));
  hashRemove(slot);
  treeRemove(changetype<usize>(node));
  nodeGive(node);
}

/** Gives a node's memory back. */
export function nodeGive(node: KeyNode): void {
  root.nodeBytes -= slabClassSize(node.sizeClass);
  slabGive(changetype<usize>(node));
}

function versionBodySize(node: KeyNode): u32 {
  return valueSizeInNode(node) + wordsSizeOf(node.flags);
}

function valueSizeInNode(node: KeyNode): u32 {
  const flags = node.flags;
  if (flags & NodeFlags.INLINE) return (node.valueSize + 7) & ~7;
  return flags & NodeFlags.EXTENTS || node.isCompressed ? 8 : 0;
}
