/**
 * The path from the root of the ordered index to a leaf: for each inner node, which child the way went down to.
 *
 * ```
 * TREE_PATH, step for step from the root
 *   0  u32 inner node        4  u32 index of the child
 * ```
 *
 * A path is valid until the next descent, and while no node on it changes but by the operation that took the path.
 */
import { root, SUPERBLOCK_A, TREE_PATH } from "../root";
import { innerSearch, TreeNode } from "./tree-node";

/**
 * More levels than can come about: two neighbouring inner nodes under one parent hold 14 separators together, but for
 * the outermost ones of a level, so a ninth level would need more leaves than fit in 32 bits of memory.
 */
export const TREE_HEIGHT_MAX: u32 = 16;

if (TREE_PATH + <usize>TREE_HEIGHT_MAX * 8 > SUPERBLOCK_A) ERROR("the path outgrew its place");

/** The inner node that step `depth` left from. */
export function pathNode(depth: u32): TreeNode {
  return changetype<TreeNode>(<usize>load<u32>(TREE_PATH + ((<usize>depth) << 3)));
}

/** The index of the child that step `depth` went down to. */
export function pathIndex(depth: u32): u32 {
  return load<u32>(TREE_PATH + ((<usize>depth) << 3), 4);
}

/** Notes a step. */
export function pathSet(depth: u32, node: TreeNode, index: u32): void {
  const step = TREE_PATH + ((<usize>depth) << 3);
  store<u32>(step, <u32>changetype<usize>(node));
  store<u32>(step, index, 4);
}

/** The leaf where a padded key belongs; the path to it has `treeHeight - 1` steps. One node a level. */
export function descend(key: usize, size: u32): TreeNode {
  let node = changetype<TreeNode>(<usize>root.treeRoot);
  const steps = root.treeHeight - 1;
  for (let depth: u32 = 0; depth < steps; depth++) {
    const index = innerSearch(node, key, size);
    pathSet(depth, node, index);
    node = node.child(index);
  }
  return node;
}
