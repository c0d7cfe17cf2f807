/**
 * What a write may ask for beside its value: a condition on what is there, an expiry, a timestamp.
 *
 * ```
 * set, remove                                     nothing of the kind
 * setWith, removeWith                             checked, then done, in one call
 * condition, then set, writeBegin or remove       for values in pieces and for batches: all is checked before anything is done
 * ```
 */
import { timeNowMs } from "../device/device";
import { EXPIRY_MAX } from "../format/record";
import { expiryOf, KeyNode, NodeFlags, timestampOf } from "../index/key-node";
import { root } from "../root";
import { Status } from "../status";
import { CallFlags, nodeFind, remove, set } from "./dual";

/** What these calls answer when the condition did not hold. */
const REFUSED: i32 = 2;

/**
 * Checks a write of the key in KEY_A: 1; 0 when IF_VERSION is set and the key's version is not `version` (0: it must be
 * absent); STALE_TIMESTAMP when TIMESTAMP is set and the record there has a newer one. Keeps expiry (with EXPIRES_IN
 * counted from now) and timestamp for the write that follows. With UNCHECKED it only keeps them.
 */
export function condition(keySize: u32, callFlags: u32, version: f64, expiry: f64, timestamp: f64): i32 {
  if (root.blocked) return root.blocked;
  if (!(callFlags & CallFlags.UNCHECKED) && callFlags & (CallFlags.IF_VERSION | CallFlags.TIMESTAMP)) {
    const node = changetype<KeyNode>(nodeFind(keySize));
    const there = changetype<usize>(node) != 0;
    if (callFlags & CallFlags.IF_VERSION) {
      if (there ? <f64>node.sequence != version : version != 0) return 0;
    }
    if (callFlags & CallFlags.TIMESTAMP && there && node.flags & NodeFlags.TIMESTAMP) {
      if (timestampOf(node, node.body) > <u64>timestamp) return Status.STALE_TIMESTAMP;
    }
  }
  root.callTimestamp = <u64>timestamp;
  if (callFlags & CallFlags.EXPIRY) {
    root.callExpiry = callFlags & CallFlags.EXPIRES_IN ? min<u64>(timeNowMs() + <u64>expiry, EXPIRY_MAX) : <u64>expiry;
  }
  return 1;
}

/** `condition`, then `set`: 2 when the condition did not hold. */
export function setWith(keySize: u32, valueSize: u32, callFlags: u32, version: f64, expiry: f64, timestamp: f64): i32 {
  const checked = condition(keySize, callFlags, version, expiry, timestamp);
  if (checked <= 0) return checked < 0 ? checked : REFUSED;
  return set(keySize, valueSize, callFlags & CallFlags.OF_RECORD);
}

/** `condition`, then `remove`: 2 when the condition did not hold. */
export function removeWith(keySize: u32, callFlags: u32, version: f64, timestamp: f64): i32 {
  const checked = condition(keySize, callFlags & ~CallFlags.EXPIRY, version, 0, timestamp);
  if (checked <= 0) return checked < 0 ? checked : REFUSED;
  return remove(keySize);
}

/** Keeps expiry and timestamp of a node for the write that follows: the flags of a call that say so. */
export function wordsKeepOf(node: KeyNode): u32 {
  const flags = node.flags;
  let callFlags: u32 = 0;
  if (flags & NodeFlags.EXPIRY) {
    root.callExpiry = expiryOf(node, node.body);
    callFlags |= CallFlags.EXPIRY;
  }
  if (flags & NodeFlags.TIMESTAMP) {
    root.callTimestamp = timestampOf(node, node.body);
    callFlags |= CallFlags.TIMESTAMP;
  }
  return callFlags;
}

/**
 * What is known of the key in KEY_A beside its value: 1 when it is there, else 0. `entryFigure` then gives version (0),
 * expiry (1) and timestamp (2), each -1 when there is none. Never reads the device.
 */
export function entryOpen(keySize: u32): i32 {
  const found = nodeFind(keySize);
  if (!found) return 0;
  entryFound(changetype<KeyNode>(found), changetype<KeyNode>(found).body);
  return 1;
}

/** Keeps what is known of a node, or of a version, whose value or extent table lies at `body`, for `entryFigure`. */
export function entryFound(node: KeyNode, body: usize): void {
  root.entryVersion = <f64>node.sequence;
  root.entryExpiry = node.flags & NodeFlags.EXPIRY ? <f64>expiryOf(node, body) : -1;
  root.entryTimestamp = node.flags & NodeFlags.TIMESTAMP ? <f64>timestampOf(node, body) : -1;
}

/** See `entryOpen`. */
export function entryFigure(what: u32): f64 {
  if (!what) return root.entryVersion;
  return what == 1 ? root.entryExpiry : root.entryTimestamp;
}
