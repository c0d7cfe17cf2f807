/** All planted bugs. A bug's number is its place here, from 1 on. */
import { BESIDE_BUGS } from "./beside-bugs.ts";
import type { Bug } from "./bug.ts";
import { DURABILITY_BUGS } from "./durability-bugs.ts";
import { HOST_BUGS } from "./host-bugs.ts";
import { MEMORY_BUGS } from "./memory-bugs.ts";
import { ORACLE_BUGS } from "./oracle-bugs.ts";
import { RECOVERY_BUGS } from "./recovery-bugs.ts";

export const BUGS: readonly Bug[] = [
  ...DURABILITY_BUGS,
  ...RECOVERY_BUGS,
  ...MEMORY_BUGS,
  ...HOST_BUGS,
  ...BESIDE_BUGS,
  ...ORACLE_BUGS,
];
