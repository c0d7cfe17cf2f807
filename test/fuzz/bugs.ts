/** Deliberate bugs, one or more for each check of the fuzzer: what it must say of them. As in test/planted. */
import type { Bug } from "../planted/bug.ts";

/** A bug and what is found of it. */
export interface FuzzBug extends Bug {
  /** A finding whose message matches must come. */
  found: RegExp;
  /** Further words for the program. */
  words?: string[];
}

export const FUZZ_BUGS: readonly FuzzBug[] = [
  {
    name: "check-is-not-compared",
    file: "assembly/format/block.ts",
    find: "header.check == blockCheck(frame)",
    replace: "(PLANTED || header.check == blockCheck(frame))",
    breaks: "damaged bytes are given out",
    found: /wrong value|no state from|is no answer/,
  },
  {
    name: "mount-forgets-the-mark",
    file: "assembly/recovery/log-scan.ts",
    find: "  let mark = root.durableGroup;\n  for",
    replace: "  let mark = root.durableGroup;\n  if (PLANTED && !root.readOnly) return 0;\n  for",
    breaks: "durable groups are taken for a torn tail",
    found: /store: no state from version/,
  },
  {
    name: "replay-stands-still",
    file: "assembly/recovery/replay.ts",
    find: "    at += <u32>size;",
    replace: "    at += PLANTED && size > 4000 ? 0 : <u32>size;",
    breaks: "a loop over a length does not end",
    found: /hang/,
    words: ["--hang-ms", "4000"],
  },
  {
    name: "key-size-is-believed",
    file: "assembly/format/record.ts",
    find: "  if (isNote ? keySize | flags : keySize - 1 >= KEY_SIZE_MAX) return false;\n  if (head > left ||",
    replace:
      "  if (isNote ? keySize | flags : keySize - 1 >= KEY_SIZE_MAX && !PLANTED) return false;\n  if ((head > left && !PLANTED) ||",
    breaks: "a size that a record claims leads out of its block",
    found: /untyped|because of|hang|verify finds nothing|no answer|does not read back/,
  },
  {
    name: "opening-is-tried-for-good",
    file: "store/open.ts",
    find: "if (still === STILL_ATTEMPT_COUNT_MAX) throw error;",
    replace: "if (still === STILL_ATTEMPT_COUNT_MAX && !PLANTED) throw error; if (PLANTED) attempt = 1;",
    breaks: "the device is read without end",
    found: /it read more than|hang/,
    words: ["--hang-ms", "8000"],
  },
  {
    name: "damage-throws-what-it-likes",
    file: "store/core.ts",
    find: '    const code = STATUS_CODES[-status - 1] ?? "CORRUPT";',
    replace:
      '    const code = STATUS_CODES[-status - 1] ?? "CORRUPT"; if (PLANTED && code === "CORRUPT") throw new TypeError("planted");',
    breaks: "an error that is none of the API's",
    // Opening takes it for a trap otherwise.
    also: [
      {
        file: "store/open.ts",
        find: "  throw trap(cause);\n}",
        replace: "  throw PLANTED ? cause : trap(cause);\n}",
      },
    ],
    found: /untyped: TypeError/,
  },
  {
    name: "reader-writes",
    file: "assembly/recovery/mount.ts",
    find: "  root.readOnly = flags & MountFlags.READ_ONLY ? 1 : 0;\n  root.growable",
    replace: "  root.readOnly = flags & MountFlags.READ_ONLY && !PLANTED ? 1 : 0;\n  root.growable",
    breaks: "a readOnly store writes",
    found: /it wrote to what it was to read|DEVICE_WRITE/,
  },
  {
    name: "verify-passes-damage",
    file: "assembly/verify/source.ts",
    find: "  if (header.checkHigh || header.check != blockCheck(frame)) return Fault.BLOCK_DAMAGED;",
    replace: "  if (!PLANTED && (header.checkHigh || header.check != blockCheck(frame))) return Fault.BLOCK_DAMAGED;",
    breaks: "verify finds nothing where reads fail",
    found: /verify finds nothing/,
    words: ["--kinds", "checkpoint,two checkpoints,extents"],
  },
  {
    name: "repair-takes-what-is-exposed",
    file: "store/repair/judge.ts",
    find: 'return known <= this.horizon ? "exposed" : undefined;',
    replace: 'return known <= this.horizon && !PLANTED ? "exposed" : undefined;',
    breaks: "a repaired store gives values that were overwritten",
    found: /repaired: no state/,
  },
  {
    name: "walk-leaves-out-a-key",
    file: "store/iterator.ts",
    find: "    if (this.position === this.size && !this.fill()) return { done: true, value: undefined };",
    replace:
      "    if (PLANTED && this.position === 1 && this.size > 1) this.position++; if (this.position === this.size && !this.fill()) return { done: true, value: undefined };",
    breaks: "a walk and single reads differ",
    found: /walks over|walked over/,
  },
];
