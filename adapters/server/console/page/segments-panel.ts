/** The map of the store's segments: a cell each, or several together, by how much of what is written there still counts. */
import { element } from "../../../page/elements.ts";
import { counted, sized } from "../../../page/figures.ts";
import { whileSeen } from "./panels.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 2_000;
const CELL = 14;
const SVG = "http://www.w3.org/2000/svg";
/** Steps of the colours, from all garbage to all live. */
const HEATS = 6;

interface Cell {
  first: number;
  free: number;
  log: number;
  checkpoint: number;
  usedBytes: number;
  liveBytes: number;
}

interface SegmentMap {
  segmentCount: number;
  segmentBytes: number;
  segmentsPerCell: number;
  cells: Cell[];
}

/** Sets the panel up. */
export function startSegments(session: Session): void {
  const svg = document.createElementNS(SVG, "svg");
  const box = element("segment-map", HTMLDivElement);
  const about = element("segment-about", HTMLOutputElement);
  const summary = element("segment-summary", HTMLParagraphElement);
  let map: SegmentMap | undefined;
  /** The cell that is told of; -1: none. */
  let chosen = -1;
  let columns = 1;
  box.replaceChildren(svg);

  function draw(): void {
    const { cells } = map ?? { cells: [] };
    columns = Math.max(1, Math.floor(box.clientWidth / CELL));
    svg.setAttribute("width", String(columns * CELL));
    svg.setAttribute("height", String(Math.max(1, Math.ceil(cells.length / columns)) * CELL));
    svg.replaceChildren(
      ...cells.map((cell, index) => {
        const rect = document.createElementNS(SVG, "rect");
        rect.setAttribute("x", String((index % columns) * CELL + 1));
        rect.setAttribute("y", String(Math.floor(index / columns) * CELL + 1));
        rect.setAttribute("width", String(CELL - 2));
        rect.setAttribute("height", String(CELL - 2));
        rect.setAttribute("class", `${classOf(cell)}${index === chosen ? " chosen" : ""}`);
        return rect;
      }),
    );
    const cell = cells[chosen];
    about.textContent = cell === undefined || map === undefined ? "" : told(cell, map);
  }

  function choose(index: number): void {
    const count = map?.cells.length ?? 0;
    chosen = count === 0 ? -1 : Math.max(0, Math.min(index, count - 1));
    draw();
  }

  svg.addEventListener("pointermove", (event) => {
    const { left, top } = svg.getBoundingClientRect();
    const index =
      Math.floor((event.clientY - top) / CELL) * columns +
      Math.min(columns - 1, Math.floor((event.clientX - left) / CELL));
    if (index !== chosen) choose(index);
  });
  box.addEventListener("keydown", (event) => {
    const steps: Record<string, number> = {
      ArrowRight: chosen + 1,
      ArrowLeft: chosen - 1,
      ArrowDown: chosen + columns,
      ArrowUp: chosen - columns,
      Home: 0,
      End: (map?.cells.length ?? 1) - 1,
    };
    const to = steps[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    choose(to);
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(box);

  whileSeen(session, "panel-segments", LOOK_MS, {
    ask: (api) => api.json<SegmentMap>("stats/segments"),
    show(answer) {
      map = answer;
      const { segmentCount, segmentBytes, segmentsPerCell, cells } = answer;
      const sum = (of: (cell: Cell) => number): number => cells.reduce((total, cell) => total + of(cell), 0);
      const used = sum(({ usedBytes }) => usedBytes);
      const share = used === 0 ? 100 : (100 * sum(({ liveBytes }) => liveBytes)) / used;
      summary.textContent =
        `${counted(segmentCount)} segments of ${sized(segmentBytes)}: ${counted(sum(({ log }) => log))} with records, ` +
        `${counted(sum(({ checkpoint }) => checkpoint))} of checkpoints, ${counted(sum(({ free }) => free))} free; ` +
        `${counted(share)} % of what the records take is live` +
        (segmentsPerCell > 1 ? `. A cell stands for ${segmentsPerCell} segments.` : ".");
      chosen = box.matches(":focus, :hover") ? Math.min(chosen, cells.length - 1) : -1;
      draw();
    },
    clear() {
      map = undefined;
      chosen = -1;
      summary.textContent = "";
      draw();
    },
  });
}

function classOf({ log, checkpoint, usedBytes, liveBytes }: Cell): string {
  if (log === 0) return checkpoint > 0 ? "checkpoint" : "free";
  const share = usedBytes === 0 ? 0 : Math.min(1, liveBytes / usedBytes);
  return `heat heat-${Math.min(HEATS - 1, Math.floor(share * HEATS))}`;
}

function told(
  { first, free, log, checkpoint, usedBytes, liveBytes }: Cell,
  { segmentsPerCell, segmentCount }: SegmentMap,
): string {
  const last = Math.min(first + segmentsPerCell, segmentCount) - 1;
  const name = first === last ? `Segment ${counted(first)}` : `Segments ${counted(first)} to ${counted(last)}`;
  const parts: string[] = [];
  if (log > 0) parts.push(`${sized(liveBytes)} live of ${sized(usedBytes)} written`);
  if (checkpoint > 0) parts.push(log > 0 ? `${checkpoint} of checkpoints` : "of a checkpoint");
  if (free > 0) parts.push(free === last - first + 1 ? "free" : `${free} free`);
  return `${name}: ${parts.join(", ")}`;
}
