/** A plot of values over the progress of some work, or over time, as SVG; its legend shows what is pointed at. */
import { create } from "./elements.ts";
import { compact } from "./figures.ts";

/** A line of the plot. */
export interface Series {
  name: string;
  points: Point[];
}

/** Share of the work that was done, or of the time, 0 to 1; and operations per second, or whatever is plotted, then. */
export interface Point {
  share: number;
  rate: number;
}

/** What is plotted, and how it is told. */
export interface PlotScale {
  /** A linear scale begins at 0; on a logarithmic one points at 0 are left out. */
  kind: "logarithmic" | "linear";
  /** What the lines are of, for those who do not see them. */
  title: string;
  /** A value of the scale, and one of the legend. */
  value(rate: number): string;
  legend(rate: number): string;
  /** A place along the plot, 0 to 1. */
  along(share: number): string;
}

/** Operations per second over the progress of work. */
const RATES: PlotScale = {
  kind: "logarithmic",
  title: "Operations per second",
  value: compact,
  legend: (rate) => `${compact(rate)}/s`,
  along: (share) => `${share * 100}%`,
};

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 280;
const MARGIN = { top: 12, right: 16, bottom: 28, left: 56 };

/** A plot in an element; draws itself anew when the element's width changes. */
export class Plot {
  private readonly svg = document.createElementNS(SVG, "svg");
  private readonly legend = create("ul");
  private readonly box: HTMLElement;
  private series: readonly Series[] = [];
  /** Share that is pointed at. */
  private pointed: number | undefined;
  private due = false;

  private readonly scale: PlotScale;

  constructor(box: HTMLElement, scale: PlotScale = RATES) {
    this.box = box;
    this.scale = scale;
    this.svg.classList.add("plot");
    this.svg.setAttribute("role", "img");
    this.legend.className = "plot-legend";
    this.svg.addEventListener("pointermove", (event) => {
      const { left, width } = this.svg.getBoundingClientRect();
      const share = (event.clientX - left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      this.pointed = Math.max(0, Math.min(1, share));
      this.redraw();
    });
    this.svg.addEventListener("pointerleave", () => {
      this.pointed = undefined;
      this.redraw();
    });
    box.replaceChildren(this.legend, this.svg);
    new ResizeObserver(() => this.redraw()).observe(box);
  }

  /** Shows other lines, or more of the same. */
  show(series: readonly Series[]): void {
    this.series = series;
    this.redraw();
  }

  /** Draws before the next frame, once. */
  private redraw(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  private draw(): void {
    const width = Math.min(900, this.box.clientWidth);
    const { kind, title } = this.scale;
    const isLinear = kind === "linear";
    const rates = this.series
      .flatMap(({ points }) => points.map(({ rate }) => rate))
      .filter((rate) => isLinear || rate > 0);
    if (rates.length === 0 || width === 0) {
      this.svg.replaceChildren();
      this.legend.replaceChildren();
      this.svg.style.display = "none";
      return;
    }
    this.svg.style.display = "";
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", `${title} of ${this.series.map(({ name }) => name).join(", ")}`);
    const marks = isLinear ? linearMarks(Math.max(...rates)) : logarithmicMarks(Math.min(...rates), Math.max(...rates));
    const place = (rate: number): number => (isLinear ? rate : Math.log10(rate));
    const low = place(marks[0] as number);
    const high = place(marks.at(-1) as number);
    const x = (share: number): number => MARGIN.left + share * (width - MARGIN.left - MARGIN.right);
    const y = (rate: number): number =>
      HEIGHT - MARGIN.bottom - ((place(rate) - low) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);

    const parts: SVGElement[] = [];
    for (const mark of marks) {
      const at = y(mark);
      parts.push(line(x(0), at, x(1), at, "grid"), text(MARGIN.left - 6, at + 4, this.scale.value(mark), "end"));
    }
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      parts.push(text(x(share), HEIGHT - MARGIN.bottom + 18, this.scale.along(share), share === 1 ? "end" : "middle"));
    }
    for (const [index, { points }] of this.series.entries()) {
      const path = make("polyline", { class: `series series-${index}` });
      path.setAttribute(
        "points",
        points
          .filter(({ rate }) => isLinear || rate > 0)
          .map(({ share, rate }) => `${x(share)},${y(rate)}`)
          .join(" "),
      );
      parts.push(path);
    }
    if (this.pointed !== undefined) {
      const at = x(this.pointed);
      parts.push(line(at, MARGIN.top, at, HEIGHT - MARGIN.bottom, "cursor"));
    }
    this.svg.replaceChildren(...parts);
    this.showLegend();
  }

  private showLegend(): void {
    const items = this.series.map(({ name, points }, index) => {
      const item = create("li");
      const mark = create("span");
      mark.className = `mark series-${index}`;
      const { pointed } = this;
      const point = pointed === undefined ? points.at(-1) : nearest(points, pointed);
      item.append(mark, `${name} `, create("b", point ? this.scale.legend(point.rate) : "–"));
      return item;
    });
    this.legend.replaceChildren(...items);
  }
}

/** Powers of ten around what is plotted. */
function logarithmicMarks(least: number, most: number): number[] {
  const lowest = Math.floor(Math.log10(least));
  const highest = Math.max(lowest + 1, Math.ceil(Math.log10(most)));
  return Array.from({ length: highest - lowest + 1 }, (_, index) => 10 ** (lowest + index));
}

/** Round values from 0 to beyond what is plotted. */
function linearMarks(most: number): number[] {
  const raw = Math.max(most, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw) ?? 10) * power;
  return Array.from({ length: 5 }, (_, index) => index * step);
}

function nearest(points: readonly Point[], share: number): Point | undefined {
  let best = points[0];
  for (const point of points) {
    if (best && Math.abs(point.share - share) < Math.abs(best.share - share)) best = point;
  }
  return best;
}

function make(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

function line(x1: number, y1: number, x2: number, y2: number, style: string): SVGElement {
  return make("line", { x1, y1, x2, y2, class: style });
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end"): SVGElement {
  const made = make("text", { x, y, "text-anchor": anchor });
  made.textContent = content;
  return made;
}
