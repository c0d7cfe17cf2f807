/** Taking away what replay kept of deleted keys while older records of them could still come. */
import { copyBytes, pad8 } from "../bytes/compare";
import { nodeForget } from "../engine/snapshots";
import { KeyNode, NodeFlags } from "../index/key-node";
import { SeekMode, treeCollectForward, treeFirst, treeSeek } from "../index/tree-cursor";
import { KEY_B, root, WORKSPACE } from "../root";

/** Keys looked at in one step. */
const SWEEP_COUNT: u32 = 1024;

/** Takes away the nodes of deleted keys that were kept while older records could still come. O(keys), if there are any. */
export function deletedForget(): void {
  let taken: u32 = 0;
  let keySize: u32 = 0;
  while (root.replayDeleted) {
    // Taking nodes away moves entries, so each block starts with a seek.
    if (keySize ? !treeSeek(KEY_B, keySize, SeekMode.GE) : !treeFirst()) return;
    // What was sought is the first of them.
    taken = treeCollectForward(WORKSPACE, SWEEP_COUNT, 0, 0);
    const last = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>(taken - 1)) << 2)));
    const end = taken < SWEEP_COUNT;
    // The next block begins behind the last key of this one.
    keySize = last.keySize + 1;
    copyBytes(KEY_B, last.key, pad8(last.keySize));
    store<u64>(KEY_B + last.keySize, 0);
    for (let i: u32 = 0; i < taken; i++) {
      const node = changetype<KeyNode>(<usize>load<u32>(WORKSPACE + ((<usize>i) << 2)));
      if (!(node.flags & NodeFlags.DELETED)) continue;
      nodeForget(node);
      root.replayDeleted--;
    }
    if (end) return;
  }
}
