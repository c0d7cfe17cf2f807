/**
 * The expiry wheel: which keys have reached their expiry, found without looking at the others.
 *
 * A hierarchical timing wheel over key nodes. A node waits in one of 12 × 16 lists, by the highest of the 12 hexadecimal
 * digits in which its expiry differs from the time of the wheel, and by the value of that digit. When the wheel's time
 * comes to a list, its nodes go to lists of lower digits, at last to the list of those that are due. So each node moves
 * at most 12 times, an hour's expiry about 5 times, and to put one in or take one out costs the same however many there are.
 *
 * ```
 * list: u32 first node, or 0
 *   0 .. 191  digit × 16 + value     192  due, oldest first     193  what the wheel came to and has not passed on yet
 * links of a node: u32 next, bit 0 set when it is due; u32 previous, or list × 2 + 1 for the first of a list
 * ```
 *
 * Invariants: (1) a node in the wheel has an expiry above the wheel's time, a due one does not, one that is passed on may have
 * either; (2) the wheel's time stands still while something is passed on.
 */
import { EXPIRY_MAX } from "../format/record";
import { EXPIRY_LISTS, root } from "../root";
import { expiryOf, KeyNode, linksOf } from "./key-node";

const DIGITS: u32 = 12;
const DUE: u32 = 192;
const PASSED_ON: u32 = 193;
const LIST_COUNT: u32 = 194;

/** Empties the wheel and sets its time. */
export function wheelBegin(timeMs: u64): void {
  memory.fill(EXPIRY_LISTS, 0, LIST_COUNT << 2);
  root.wheelTimeMs = min(timeMs, EXPIRY_MAX);
  root.expiringCount = 0;
  root.expiredCount = 0;
  root.expiredNewest = 0;
}

/** Enters a node whose flag EXPIRY and whose expiry are set. */
export function wheelEnter(node: KeyNode): void {
  root.expiringCount++;
  place(node, linksOf(node));
}

/** Takes a node out, as long as its flags and its value's size are those with which it was entered. */
export function wheelLeave(node: KeyNode): void {
  root.expiringCount--;
  unlink(linksOf(node));
}

/** Turns the wheel towards a time, moving at most `limit` nodes: whether it has come there. */
export function wheelTurn(timeMs: u64, limit: u32): bool {
  timeMs = min(timeMs, EXPIRY_MAX);
  while (true) {
    let first = <usize>load<u32>(listAt(PASSED_ON));
    while (first) {
      if (!limit--) return false;
      const links = linksOf(changetype<KeyNode>(first));
      unlink(links);
      place(changetype<KeyNode>(first), links);
      first = <usize>load<u32>(listAt(PASSED_ON));
    }
    if (timeMs <= root.wheelTimeMs) return true;
    const list = listNext();
    const start = list < DUE ? startOf(list) : u64.MAX_VALUE;
    if (start > timeMs) {
      root.wheelTimeMs = timeMs;
      return true;
    }
    const head = load<u32>(listAt(list));
    store<u32>(listAt(list), 0);
    store<u32>(listAt(PASSED_ON), head);
    store<u32>(linksOf(changetype<KeyNode>(<usize>head)), (PASSED_ON << 1) | 1, 4);
    root.wheelTimeMs = start;
  }
}

/** The node that has been due for longest, or 0. */
export function wheelDue(): usize {
  return <usize>load<u32>(listAt(DUE));
}

/** The list that the wheel comes to next, DUE when all are empty. */
function listNext(): u32 {
  const time = root.wheelTimeMs;
  for (let digit: u32 = 0; digit < DIGITS; digit++) {
    const value = <u32>(time >>> (digit << 2)) & 15;
    for (let above = value + 1; above < 16; above++) {
      if (load<u32>(listAt((digit << 4) | above))) return (digit << 4) | above;
    }
  }
  return DUE;
}

/** The time at which the wheel comes to a list. */
function startOf(list: u32): u64 {
  const shift = (list >>> 4) << 2;
  return ((root.wheelTimeMs >>> (shift + 4)) << (shift + 4)) | ((<u64>list & 15) << shift);
}

function place(node: KeyNode, links: usize): void {
  const expiry = expiryOf(node, node.body);
  const time = root.wheelTimeMs;
  if (expiry <= time) {
    dueAdd(node, links);
    return;
  }
  const digit = (63 - <u32>clz(expiry ^ time)) >>> 2;
  const list = (digit << 4) | (<u32>(expiry >>> (digit << 2)) & 15);
  const head = load<u32>(listAt(list));
  store<u32>(links, head);
  store<u32>(links, (list << 1) | 1, 4);
  store<u32>(listAt(list), <u32>changetype<usize>(node));
  if (head) store<u32>(linksOf(changetype<KeyNode>(<usize>head)), <u32>changetype<usize>(node), 4);
}

function dueAdd(node: KeyNode, links: usize): void {
  const last = root.expiredNewest;
  root.expiredNewest = <u32>changetype<usize>(node);
  root.expiredCount++;
  store<u32>(links, 1);
  if (last) {
    store<u32>(links, last, 4);
    store<u32>(linksOf(changetype<KeyNode>(<usize>last)), <u32>changetype<usize>(node) | 1);
  } else {
    store<u32>(links, (DUE << 1) | 1, 4);
    store<u32>(listAt(DUE), <u32>changetype<usize>(node));
  }
}

function unlink(links: usize): void {
  const next = load<u32>(links) & ~1;
  const previous = load<u32>(links, 4);
  const due = load<u32>(links) & 1;
  if (due) {
    root.expiredCount--;
    if (!next) root.expiredNewest = previous & 1 ? 0 : previous;
  }
  if (previous & 1) store<u32>(listAt(previous >>> 1), next);
  else store<u32>(linksOf(changetype<KeyNode>(<usize>previous)), next | due);
  if (next) store<u32>(linksOf(changetype<KeyNode>(<usize>next)), previous, 4);
}

function listAt(list: u32): usize {
  return EXPIRY_LISTS + ((<usize>list) << 2);
}
