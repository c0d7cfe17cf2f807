/**
 * The segments of a device as a heat map: one cell a segment, or several segments where there are many. How much of what
 * was written there is live shows as a colour from green to red on a terminal, else as a shade.
 */
import type { Painter } from "./colors.ts";
import { formatCount } from "./text.ts";

/** What the map shows of a segment. */
export interface MapSegment {
  /** `used` holds records that count, `checkpoint` a checkpoint; `unknown` when nobody could tell, since the store cannot be opened. */
  state: "free" | "used" | "checkpoint" | "damaged" | "unknown";
  /** Bytes of live records, and of all that was written. */
  liveBytes: number;
  usedBytes: number;
  /** Whether the log ends here. */
  isEnd: boolean;
}

/** Cells of a map at most: what stays readable. */
const CELLS_MAX = 2048;
const SHADES = ["░", "▒", "▓", "█"];
/** From all garbage to all live. */
const HEAT = [124, 160, 166, 172, 178, 142, 106, 70, 34, 28];
const FREE_COLOR = 237;
const CHECKPOINT_COLOR = 24;
const UNKNOWN_COLOR = 60;
const DAMAGED_COLOR = 90;

/** The lines of the map and of its legend; a line is at most `width` columns wide, 40 at least. */
export function mapOf(segments: readonly MapSegment[], painter: Painter, width: number): string[] {
  const each = Math.ceil(segments.length / CELLS_MAX);
  const labelWidth = formatCount(segments.length).length + 2;
  const cellWidth = painter.hasColors ? 2 : 1;
  const room = Math.floor((Math.max(40, width) - labelWidth - 2) / cellWidth);
  const perRow = [64, 32, 16].find((count) => count <= room) ?? 8;
  const lines: string[] = [];
  for (let at = 0; at < segments.length; at += perRow * each) {
    let row = "";
    for (let cell = at; cell < Math.min(segments.length, at + perRow * each); cell += each) {
      row += cellOf(segments.slice(cell, cell + each), painter);
    }
    lines.push(`${painter.dim(formatCount(at).padStart(labelWidth))}  ${row}`);
  }
  lines.push("", ...legendOf(painter));
  if (each > 1) lines.push(painter.dim(`  A cell stands for ${each} segments.`));
  return lines;
}

function cellOf(segments: readonly MapSegment[], painter: Painter): string {
  const used = segments.filter(({ state }) => state === "used");
  const isEnd = segments.some((segment) => segment.isEnd);
  const mark = isEnd ? ">" : undefined;
  if (segments.some(({ state }) => state === "damaged")) return painted(painter, DAMAGED_COLOR, "!", "!");
  if (used.length === 0) {
    if (segments.some(({ state }) => state === "unknown")) return painted(painter, UNKNOWN_COLOR, " ", "?");
    if (segments.some(({ state }) => state === "checkpoint")) return painted(painter, CHECKPOINT_COLOR, "=", "=");
    return painted(painter, FREE_COLOR, " ", "·");
  }
  const share = shareOf(used);
  const heat = HEAT[Math.min(HEAT.length - 1, Math.floor(share * HEAT.length))] as number;
  const shade = SHADES[Math.min(SHADES.length - 1, Math.floor(share * SHADES.length))] as string;
  return painted(painter, heat, mark ?? " ", mark ?? shade);
}

function painted(painter: Painter, color: number, onColor: string, plain: string): string {
  return painter.hasColors ? painter.on(color, onColor.padEnd(2)) : plain;
}

/** Live bytes of what was written, from 0 to 1. */
export function shareOf(segments: readonly MapSegment[]): number {
  const used = segments.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  const live = segments.reduce((sum, { liveBytes }) => sum + liveBytes, 0);
  return used === 0 ? 0 : Math.min(1, live / used);
}

function legendOf(painter: Painter): string[] {
  if (!painter.hasColors) {
    return [
      "  live  ░ to 25 %   ▒ to 50 %   ▓ to 75 %   █ above",
      "  > end of the log   = checkpoint   · free   ! damaged   ? unknown",
    ];
  }
  const scale = HEAT.map((color) => painter.on(color, "  ")).join("");
  const end = painter.on(HEAT.at(-1) as number, "> ");
  const rest = `${painter.on(CHECKPOINT_COLOR, "= ")} checkpoint   ${painter.on(FREE_COLOR, "  ")} free   ${painter.on(DAMAGED_COLOR, "! ")} damaged   ${painter.on(UNKNOWN_COLOR, "  ")} unknown`;
  return [`  garbage ${scale} live`, `  ${end} end of the log   ${rest}`];
}
