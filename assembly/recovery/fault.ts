/** Where recovery found what should not be. */
import { root } from "../root";
import { Status } from "../status";

/** CORRUPT, with its place. */
export function corruptAt(offset: u64): i32 {
  root.faultOffset = offset;
  return Status.CORRUPT;
}
