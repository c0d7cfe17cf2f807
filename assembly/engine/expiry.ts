/**
 * Expiry: a record whose time has come is not there any more, for every call, from that millisecond on.
 *
 * Time is the highest that this store has ever seen (`timeNowMs`), so a clock that goes back brings nothing back. What a
 * snapshot sees is judged by the time at which it was taken, so it never changes.
 *
 * A record that has expired is taken away later, by a deletion in the log like any other: by `expirySweep`, in bounded steps between
 * operations, and only when a time at or behind its expiry is on the device. So whatever brings the store back, a crash included,
 * finds the record gone or expired.
 */
import { timeNowMs } from "../device/device";
import { wheelDue, wheelTurn } from "../index/expiry-wheel";
import { hashFind } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { expiryOf, KeyNode, NodeFlags } from "../index/key-node";
import { root } from "../root";
import { Status } from "../status";
import { removeAt } from "./dual";
import { feedIsFull } from "./feed";
import { laterApply } from "./later";

/** Flags of a node that a read must look at more closely. */
export const MAYBE_HIDDEN: u32 = NodeFlags.DELETED | NodeFlags.EXPIRY;
/** Records that one step takes away, and nodes that it moves in the wheel. */
const STEP: u32 = 64;

/** Whether a node holds nothing that is visible now. Reads the clock only for a record with an expiry. */
export function nodeHidden(node: KeyNode): bool {
  const flags = node.flags;
  if (!(flags & MAYBE_HIDDEN)) return false;
  return (flags & NodeFlags.DELETED) != 0 || expiryOf(node, node.body) <= timeNowMs();
}

/** Whether a node, or a version whose value or extent table lies at `body`, had expired by a time. */
export function expiredBy(node: KeyNode, body: usize, timeMs: u64): bool {
  return (node.flags & NodeFlags.EXPIRY) != 0 && expiryOf(node, body) <= timeMs;
}

/** The time by which a snapshot of the present judges what it sees: 0 when nothing that it sees can expire. */
export function snapshotTimeMs(): u64 {
  return root.expiringCount ? timeNowMs() : 0;
}

/** Keys that are visible now. O(1), but for those that have expired since the last look. */
export function visibleKeyCount(): u32 {
  if (root.expiringCount) wheelTurn(timeNowMs(), u32.MAX_VALUE);
  return root.liveKeyCount - root.expiredCount;
}

/**
 * Takes away a bounded number of expired records: 1 when more wait that could go now; 2 when some wait for the time to be on
 * the device; 0 when none do or there is no room for their deletions; or a status: DEVICE_WRITE, FENCED.
 */
export function expirySweep(): i32 {
  if (root.blocked || root.batchOpen || root.streamActive) return 0;
  laterApply();
  if (!root.expiringCount) return 0;
  const arrived = wheelTurn(timeNowMs(), STEP * 4);
  for (let i: u32 = 0; i < STEP && !feedIsFull(); i++) {
    const due = wheelDue();
    if (!due) return arrived ? 0 : 1;
    const node = changetype<KeyNode>(due);
    if (expiryOf(node, node.body) > root.durableTimeMs) return arrived ? 2 : 1;
    const slot = hashFind(node.key, node.keySize, keyHash(node.key, node.keySize, root.hashSeed));
    const status = removeAt(slot, node);
    if (status == Status.NO_SPACE || status == Status.OUT_OF_MEMORY) return 0;
    if (status < 0) return status;
    root.expiredRemoved++;
  }
  return 1;
}
