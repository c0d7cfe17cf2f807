/** Planted bugs of what goes on beside a writer, and of the time that the device tells. */
import type { Bug } from "./bug.ts";

export const BESIDE_BUGS: readonly Bug[] = [
  {
    name: "recovery-forgets-the-time",
    file: "assembly/recovery/replay.ts",
    find: "if (trailer.highestTimeMs > root.highestTimeMs) root.highestTimeMs",
    replace: "if (!PLANTED && trailer.highestTimeMs > root.highestTimeMs) root.highestTimeMs",
    breaks: "what had expired comes back after a crash, when the clock was set back",
    search: { with: ["expire", "jump"] },
  },
  {
    name: "reader-does-not-look-again",
    file: "assembly/engine/fetch.ts",
    find: "if (root.readOnly && (status == Status.CORRUPT",
    replace: "if (!PLANTED && root.readOnly && (status == Status.CORRUPT",
    breaks: "a reader takes a segment that its writer uses anew for damage",
    search: { with: ["openReader", "askReader"], live: true },
    shows: ["readers.ts: a reader: unexpected …: …"],
  },
  {
    name: "refresh-stays-where-it-was",
    file: "store/session.ts",
    find: "    this.core = core;\n    const { committer",
    replace: "    if (!PLANTED) this.core = core;\n    const { committer",
    breaks: "a reader that moved on shows what it showed before",
    search: { with: ["openReader", "refreshReader"], live: true },
    shows: ["readers.ts: a reader expires … times in a row"],
  },
  {
    name: "pinned-segment-is-freed",
    file: "assembly/log/segments.ts",
    find: "if (state.pins) {",
    replace: "if (!PLANTED && state.pins) {",
    breaks: "a segment is used anew that a backup still reads",
    search: { with: ["backup", "compacts"] },
  },
];
